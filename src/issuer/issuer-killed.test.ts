import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { ask, dataDirectory } from '../../test/support/data-directory.ts';
import { DAY_MS, HOUR_MS, opensslVerify } from '../../test/support/issuer.ts';
import type { Issuer } from './issuer.ts';

// Node keeps the functions that `rmSync` finds at its first call: not to be those of a test.
fs.rmSync(join(tmpdir(), 'credence-absent'), { force: true });

const EFFECTS = [
  'mkdirSync',
  'openSync',
  'writeSync',
  'fsyncSync',
  'renameSync',
  'unlinkSync',
] as const;

/**
 * Runs until the call `at` of those that change the disk, and lets nothing touch the disk from
 * there on: what kill -9 leaves. Half of a write may have been done. Says whether it came so far.
 */
async function dieAtCall(
  t: TestContext,
  at: number,
  run: () => Promise<unknown>,
): Promise<boolean> {
  let calls = 0;
  const mocks = EFFECTS.map((name) => {
    const original = fs[name] as (...args: unknown[]) => unknown;
    return t.mock.method(fs, name, (...args: unknown[]) => {
      if (name === 'openSync' && args[1] !== 'w') return original(...args);
      if (++calls < at) return original(...args);
      const [fd, bytes, offset] = args;
      if (calls === at && name === 'writeSync' && bytes instanceof Uint8Array) {
        original(fd, bytes, offset, bytes.length >> 1);
      }
      throw new Error('killed');
    });
  });
  syncBuiltinESMExports();
  try {
    await run();
  } catch {
    // What the dying process would have said; calls tells whether it died.
  } finally {
    for (const mock of mocks) mock.mock.restore();
    syncBuiltinESMExports();
  }
  return calls >= at;
}

describe('a process that is killed', () => {
  const rootOf = (journal: string): string | undefined => {
    if (!fs.existsSync(journal)) return undefined;
    const document = JSON.parse(fs.readFileSync(journal, 'utf8')) as {
      roots: { certificate: string }[];
    };
    return document.roots[0]?.certificate;
  };
  const namedIn = (journal: string) => {
    const { roots, issuing } = JSON.parse(fs.readFileSync(journal, 'utf8')) as Record<
      'roots' | 'issuing',
      { key_id: string }[]
    >;
    return [...roots, ...issuing].map((one) => `${one.key_id}.pem`).sort();
  };

  it('at any write of the first start, is followed by one that signs', async (t) => {
    let at = 1;
    for (; ; at++) {
      const data = dataDirectory(t);
      if (!(await dieAtCall(t, at, () => data.start()))) break;
      const made = rootOf(data.journal);
      const issuer = await data.start();
      if (made) assert.equal(rootOf(data.journal), made, `another root after call ${at}`);
      opensslVerify(t, issuer, await issuer.mint(ask, {}));
      assert.equal(data.keys().length, 2, `keys left over after call ${at}`);
    }
    // Two folders, five journals, two keys; four calls or more each.
    assert.ok(at > 20, `${at} calls`);
  });

  it('at any write of a replacement, leaves the root and every SVID valid', async (t) => {
    let at = 1;
    for (; ; at++) {
      const data = dataDirectory(t);
      const before = await data.start();
      const svid = await before.mint({ ...ask, ttlMs: DAY_MS }, {});
      const root = rootOf(data.journal);
      before.close();
      data.clock.jump(DAY_MS - HOUR_MS / 2);
      let restarted: Issuer | undefined;
      const died = await dieAtCall(t, at, async () => {
        restarted = await data.start();
        await restarted.mint(ask, {});
      });
      restarted?.close();
      if (!died) break;
      const after = await data.start();
      assert.equal(rootOf(data.journal), root);
      opensslVerify(t, after, svid, svid.notBeforeMs + HOUR_MS);
      const next = await after.mint(ask, {});
      opensslVerify(t, after, next, data.clock.now());
      assert.notEqual(next.authorityId, svid.authorityId);
      assert.deepEqual(data.keys(), namedIn(data.journal), `keys left over after call ${at}`);
      assert.equal(data.keys().length, 3);
    }
    assert.ok(at > 8, `${at} calls`);
  });
});
