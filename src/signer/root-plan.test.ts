import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { CaCertificate } from '../issuer/ca-certificate.ts';
import {
  activated,
  changed,
  leftRoots,
  nextRootStep,
  withNodeAdmitted,
  withNodeRevoked,
  type RootTimes,
} from './root-plan.ts';
import { NO_STATE, type Root, type SignerState } from './signer-state.ts';

const DAY = 86_400_000;
const TIMES: RootTimes = {
  ...{ rootTtlMs: 60 * DAY, newRootDelayMs: 120_000, revocationDelayMs: 60_000, maxTtlMs: DAY },
};
const always = () => true;

let made = 0;
function makeRoot(slot: Root['slot'], nowMs: number, keyId = 0x7fff): Root {
  const id = Buffer.alloc(20);
  id.writeUInt16BE(keyId);
  const validity = { notBeforeMs: nowMs, notAfterMs: nowMs + TIMES.rootTtlMs };
  const certificate = { keyId: id, validity } as CaCertificate;
  return {
    ...{ certificate, key: `key-${++made}`, keyType: 'ec-p256', slot, isTainted: false },
    ...{ publishedAtMs: undefined, untilMs: undefined },
  };
}

/** What a signer does at a moment, until there is nothing more to do; roots are told of at once. */
function settle(start: SignerState, nowMs: number): SignerState {
  let state = start;
  for (let n = 0; n < 20; n++) {
    const roots = state.roots.map((root) => ({
      ...root,
      publishedAtMs: root.publishedAtMs ?? nowMs,
    }));
    state = { ...state, roots };
    const step = nextRootStep(state, nowMs, TIMES, always);
    if (step.kind === 'wait') return state;
    if (step.kind === 'activate') state = activated(state, nowMs, TIMES);
    else if (step.kind === 'make') {
      state = changed(state, { roots: [...state.roots, makeRoot(step.slot, nowMs)] });
    } else state = changed(state, { roots: state.roots.filter((r) => r !== step.root) });
  }
  assert.fail('it never comes to rest');
}
const slots = ({ roots }: SignerState) => roots.map(({ slot }) => slot).sort();

describe('nextRootStep()', () => {
  it('begins with a root that signs at once: nobody trusts another', () => {
    assert.deepEqual(nextRootStep(NO_STATE, 0, TIMES, always), { kind: 'make', slot: 'active' });
  });

  it('prepares one at half of the life, lets it sign at a sixth, and drops the old one', () => {
    let state = settle(NO_STATE, 0);
    assert.deepEqual(slots(settle(state, 26 * DAY)), ['active']);
    state = settle(state, 34 * DAY);
    assert.deepEqual(slots(state), ['active', 'prepared']);
    assert.deepEqual(slots(settle(state, 46 * DAY)), ['active', 'prepared']);
    state = settle(state, 54 * DAY);
    assert.deepEqual(slots(state), ['active', 'old']);
    assert.deepEqual(slots(settle(state, 54.9 * DAY)), ['active', 'old']);
    assert.deepEqual(slots(settle(state, 55.1 * DAY)), ['active']);
  });

  it('waits with a root that nodes do not find yet', () => {
    const roots = [makeRoot('active', 0), makeRoot('prepared', 0)];
    const step = nextRootStep({ ...NO_STATE, roots }, 59 * DAY, TIMES, always);
    assert.equal(step.kind, 'wait');
  });

  it('replaces a root whose key is lost, after nodes have learned the next one', () => {
    const lost = { ...makeRoot('active', 0), publishedAtMs: 0 };
    const state = { ...NO_STATE, roots: [lost] };
    const usable = ({ key }: Root) => key !== lost.key;
    assert.deepEqual(nextRootStep(state, DAY, TIMES, usable), { kind: 'make', slot: 'prepared' });
    const next = { ...makeRoot('prepared', DAY), publishedAtMs: DAY };
    const both = { ...state, roots: [lost, next] };
    assert.deepEqual(nextRootStep(both, DAY, TIMES, usable), {
      kind: 'wait',
      untilMs: DAY + 120_000,
    });
    assert.equal(nextRootStep(both, DAY + 120_000, TIMES, usable).kind, 'activate');
  });

  it('leaves the root of a node that is cut off after two delays, and no other earlier', () => {
    let state = settle(NO_STATE, 0);
    state = settle(withNodeRevoked(state, 'n1', DAY, true), DAY);
    assert.deepEqual(slots(state), ['active', 'prepared']);
    assert.deepEqual(leftRoots(state), []);
    state = settle(state, DAY + 60_000);
    assert.deepEqual(slots(state), ['active', 'old']);
    assert.equal(leftRoots(state).length, 1);
    assert.deepEqual(slots(settle(state, DAY + 119_999)), ['active', 'old']);
    assert.deepEqual(slots(settle(state, DAY + 120_000)), ['active']);
    assert.ok(settle(state, DAY + 120_000).revoked.has('n1'));
  });

  it('keeps a node cut off since the first time, until it is let in again', () => {
    let state = withNodeRevoked(NO_STATE, 'n1', 5, false);
    state = withNodeRevoked(state, 'n1', 9, true);
    assert.equal(state.revoked.get('n1'), 5);
    assert.equal(withNodeAdmitted(state, 'n1').revoked.size, 0);
  });

  it('never has two that sign, never lets one sign that was not told of, and goes on for ever', () => {
    const act = fc.record({ hours: fc.integer({ min: 0, max: 24 * 90 }), revoke: fc.boolean() });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 40 }), (acts) => {
        let nowMs = 0;
        let state = settle(NO_STATE, nowMs);
        for (const { hours, revoke } of acts) {
          nowMs += hours * 3_600_000;
          const before = state;
          if (revoke) state = withNodeRevoked(state, `n${hours}`, nowMs, true);
          state = settle(state, nowMs);
          const active = state.roots.filter(({ slot }) => slot === 'active');
          assert.equal(active.length, 1);
          assert.ok(state.roots.filter(({ slot }) => slot === 'prepared').length <= 1);
          assert.ok(state.revision >= before.revision);
          const known = before.roots.some(({ key }) => key === active[0]?.key);
          assert.ok(known, 'it signs as soon as it was made');
        }
        state = settle(settle(state, nowMs + 59 * DAY), nowMs + 59 * DAY + 120_000);
        const active = state.roots.find(({ slot }) => slot === 'active');
        assert.ok((active?.certificate.validity.notAfterMs ?? 0) > nowMs + 59 * DAY);
      }),
    );
  });
});
