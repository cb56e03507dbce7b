import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { silentLogger } from '../core/log.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { listDocuments } from './files.ts';
import { createPolicyStore } from './store.ts';

describe('debounce of a policy store', () => {
  async function fake(t: TestContext) {
    const folder = mkdtempSync(join(tmpdir(), 'credence-debounce-'));
    const clock = new FakeClock();
    let onChange = () => {};
    let onFailure: (thrown: unknown) => void = () => {};
    let reloads = 0;
    const store = await createPolicyStore(
      { paths: [folder], trustDomain: parseTrustDomain('example.org') },
      {
        clock,
        log: silentLogger,
        watch: (paths, change, failure) => {
          [onChange, onFailure] = [change, failure];
          return { rearm: () => listDocuments(paths), close: () => {} };
        },
      },
    );
    t.after(() => {
      store.close();
      rmSync(folder, { recursive: true });
    });
    store.onReload(() => reloads++);
    return {
      ...{ clock, folder, store },
      change: () => onChange(),
      fail: () => onFailure(new Error('ENOSPC')),
      reloads: () => reloads,
    };
  }

  it('makes one reload of a burst', async (t) => {
    const { clock, change, reloads } = await fake(t);
    for (let n = 0; n < 10; n++) {
      change();
      await clock.advance(29);
    }
    assert.equal(reloads(), 0);
    await clock.advance(1);
    assert.equal(reloads(), 1);
    await clock.advance(60_000);
    assert.equal(reloads(), 1);
  });

  it('does not wait for the end of a burst that has none', async (t) => {
    const { clock, change, reloads } = await fake(t);
    for (let n = 0; n < 52; n++) {
      change();
      await clock.advance(20);
    }
    assert.equal(reloads(), 1);
  });

  it('looks again by itself where nothing can be watched', async (t) => {
    const { clock, fail, reloads } = await fake(t);
    fail();
    await clock.advance(9999);
    assert.equal(reloads(), 0);
    await clock.advance(1);
    await settle();
    assert.equal(reloads(), 1);
  });

  it('reads what it had to refuse again by itself, each time later, and says it once', async (t) => {
    const { clock, change, reloads, folder, store } = await fake(t);
    const fault = () => store.status().lastError;
    writeFileSync(join(folder, 'p.json'), '{');
    change();
    await clock.advance(30);
    await settle();
    assert.match(fault() ?? '', /p\.json/);
    assert.equal(reloads(), 1);
    await clock.advance(10_000);
    await settle();
    assert.equal(reloads(), 1);
    // Nobody notices.
    writeFileSync(join(folder, 'p.json'), '{"entries":[]}');
    await clock.advance(19_999);
    assert.notEqual(fault(), undefined);
    await clock.advance(1);
    await settle();
    assert.equal(fault(), undefined);
    await clock.advance(1_000_000);
    assert.equal(reloads(), 2);
  });
});
