import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { Patience, type Wait } from './patience.ts';

const LIMITS = { pendingTimeoutMs: 5000, deniedParkMs: 30_000 };

function wait(code: Wait['code'], ...names: string[]): Wait {
  return { code, names: names.map((name) => ({ name, reason: `${name} is missing` })) };
}

function patient() {
  const clock = new FakeClock();
  const expired: Wait[] = [];
  return { clock, expired, patience: new Patience(clock, LIMITS, (what) => expired.push(what)) };
}

describe('Patience', () => {
  it('ends each wait after its own time, with what was waited for last', async () => {
    for (const [code, ms] of [
      ['ERR_NOT_READY', 5000],
      ['ERR_DENIED', 30_000],
    ] as const) {
      const { clock, expired, patience } = patient();
      patience.wait(wait(code, 'a'));
      await clock.advance(ms - 1);
      patience.wait(wait(code, 'a', 'b'));
      assert.deepEqual(expired, []);
      assert.deepEqual(patience.reasons, ['a is missing', 'b is missing']);
      await clock.advance(1);
      assert.deepEqual(expired, [wait(code, 'a', 'b')]);
      assert.deepEqual([patience.reasons, clock.timers], [[], 0]);
    }
  });

  it('starts anew when a name has come, and not when one is added', async () => {
    const { clock, expired, patience } = patient();
    patience.wait(wait('ERR_NOT_READY', 'a', 'b'));
    await clock.advance(4000);
    patience.wait(wait('ERR_NOT_READY', 'b'));
    await clock.advance(4000);
    patience.wait(wait('ERR_NOT_READY', 'b', 'c'));
    await clock.advance(999);
    assert.equal(expired.length, 0);
    await clock.advance(1);
    assert.equal(expired.length, 1);
  });

  it('parks once, whatever is granted meanwhile', async () => {
    const { clock, expired, patience } = patient();
    patience.wait(wait('ERR_DENIED', 'a', 'b'));
    await clock.advance(20_000);
    patience.wait(wait('ERR_DENIED', 'b'));
    await clock.advance(10_000);
    assert.deepEqual(expired, [wait('ERR_DENIED', 'b')]);
  });

  it('gives something else its own time', async () => {
    const { clock, expired, patience } = patient();
    patience.wait(wait('ERR_DENIED', 'a'));
    await clock.advance(29_999);
    patience.wait(wait('ERR_NOT_READY', 'a'));
    await clock.advance(4999);
    assert.deepEqual(expired, []);
    await clock.advance(1);
    assert.deepEqual(expired, [wait('ERR_NOT_READY', 'a')]);
  });

  it('keeps no timer when nothing is waited for any more', () => {
    const { clock, patience } = patient();
    patience.wait(wait('ERR_NOT_READY', 'a'));
    assert.equal(clock.timers, 1);
    patience.wait(undefined);
    assert.deepEqual([clock.timers, patience.reasons], [0, []]);
  });
});
