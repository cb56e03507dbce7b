import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { silentLogger } from '../core/log.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { createForeignBundles } from './foreign-bundles.ts';

const A = parseTrustDomain('a.example');
const B = parseTrustDomain('b.example');
const root = (text: string, notAfterMs = 1) => ({ der: Buffer.from(text), notAfterMs });

function bundles(clock = new FakeClock()) {
  const all = createForeignBundles({ clock, log: silentLogger });
  const heard: string[] = [];
  all.onChange((domain) => heard.push(domain));
  const texts = (domain = A) =>
    all.get(domain)?.x509Authorities.map(({ der }) => Buffer.from(der).toString());
  return { all, heard, texts };
}

describe('foreign bundles', () => {
  it('lets what was set by hand count before the folder, and the folder before manifests', () => {
    const { all, texts } = bundles();
    all.put('manifest', new Map([[A, [root('manifest')]]]));
    assert.deepEqual(texts(), ['manifest']);
    all.put('set', new Map([[A, [root('set')]]]));
    all.put('folder', new Map([[A, [root('folder')]]]));
    assert.deepEqual(texts(), ['set']);
    assert.deepEqual(all.status()[0]?.hidden, ['folder', 'manifest']);
    all.put('set', new Map());
    assert.deepEqual(texts(), ['folder']);
  });

  it('tells of the domain that changed alone, and of no content that is the same', () => {
    const { all, heard } = bundles();
    all.put(
      'folder',
      new Map([
        [A, [root('a')]],
        [B, [root('b')]],
      ]),
    );
    heard.length = 0;
    all.put(
      'folder',
      new Map([
        [A, [root('a')]],
        [B, [root('b'), root('c')]],
      ]),
    );
    all.put('set', new Map([[A, [root('a')]]]));
    assert.deepEqual(heard, [B]);
  });

  it('never counts a sequence backwards, a restart included (BU-05)', () => {
    const clock = new FakeClock();
    const { all } = bundles(clock);
    const seen: number[] = [];
    for (const text of ['1', '2', '1']) {
      all.put('folder', new Map([[A, [root(text)]]]));
      seen.push(all.get(A)?.sequence ?? 0);
    }
    clock.spend(60_000);
    const next = bundles(clock);
    next.all.put('folder', new Map([[A, [root('1')]]]));
    seen.push(next.all.get(A)?.sequence ?? 0);
    assert.deepEqual(
      seen,
      [...new Set(seen)].sort((a, b) => a - b),
    );
  });

  it('shows an empty set as one without an end', () => {
    const { all } = bundles();
    all.put('set', new Map([[A, []]]));
    assert.deepEqual(
      all.status().map((s) => [s.roots, s.earliestNotAfterMs]),
      [[0, undefined]],
    );
  });
});
