import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { settle } from '../../test/support/fake-clock.ts';
import { API, WEB } from '../../test/support/identities.ts';
import { ask, broken, HOUR, rotation } from '../../test/support/rotation.ts';
import type { PrivateKey } from '../identity/private-key.ts';

/** A rotator, and all keys that were made for it. */
function recorded() {
  const parts = rotation();
  const keys: PrivateKey[] = [];
  const mint = parts.issuer.mint.bind(parts.issuer);
  parts.issuer.mint = async (...args) => {
    const svid = await mint(...args);
    keys.push(svid.key);
    return svid;
  };
  return { ...parts, keys };
}

function isWiped(key: PrivateKey): boolean {
  try {
    return key.pkcs8().every((byte) => byte === 0);
  } catch {
    return true;
  }
}

describe('keys of SVIDs', () => {
  it('are wiped when another SVID takes the place, not while it is being made', async () => {
    const { clock, issuer, hold, keys } = recorded();
    hold();
    await settle();
    issuer.late = true;
    await clock.advance(HOUR / 2);
    assert.deepEqual(keys.map(isWiped), [false]);
    await issuer.sign();
    assert.deepEqual(keys.map(isWiped), [true, false]);
  });

  it('are kept for a process that comes back, and wiped when it has not', async () => {
    const { clock, hold, keys } = recorded();
    const held = hold();
    await settle();
    held.release();
    await clock.advance(59_000);
    assert.deepEqual(keys.map(isWiped), [false]);
    await clock.advance(1000);
    assert.deepEqual(keys.map(isWiped), [true]);
  });

  it('are wiped with the process, also those that come too late, and are seen no more', async () => {
    const { issuer, rotator, hold, keys } = recorded();
    const held = hold();
    await settle();
    issuer.late = true;
    hold('p', ask(API));
    await settle();
    rotator.forget('p');
    assert.equal(held.current(), undefined);
    await issuer.sign();
    assert.deepEqual(keys.map(isWiped), [true, true]);
  });

  it('are whole as long as anybody can see them, and wiped when nobody can', async () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('hold' as const),
        holder: fc.constantFrom('p', 'q'),
        id: fc.constantFrom(WEB, API),
      }),
      fc.record({ kind: fc.constant('release' as const), n: fc.nat(9) }),
      fc.record({ kind: fc.constant('forget' as const), holder: fc.constantFrom('p', 'q') }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: HOUR }) }),
      fc.record({ kind: fc.constantFrom('late' as const, 'sign' as const, 'fault' as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const { clock, issuer, rotator, hold, keys } = recorded();
        const held: ReturnType<typeof hold>[] = [];
        for (const one of steps) {
          if (one.kind === 'hold') held.push(hold(one.holder, ask(one.id)));
          else if (one.kind === 'release') held[one.n]?.release();
          else if (one.kind === 'forget') rotator.forget(one.holder);
          else if (one.kind === 'wait') await clock.advance(one.ms);
          else if (one.kind === 'late') issuer.late = !issuer.late;
          else if (one.kind === 'fault') issuer.fault = issuer.fault ? undefined : broken;
          await (one.kind === 'sign' ? issuer.sign() : settle());
          for (const { current } of held) {
            const key = current()?.svid.key;
            assert.ok(!key || !isWiped(key), 'a key that can be seen is wiped');
          }
          assert.ok(keys.filter((key) => !isWiped(key)).length <= rotator.stats().held);
        }
        rotator.close();
        await issuer.sign();
        assert.ok(keys.every(isWiped));
      }),
      { numRuns: 60 },
    );
  });
});
