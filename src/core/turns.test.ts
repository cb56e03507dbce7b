import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { createTurns } from './turns.ts';

const never = new AbortController().signal;

/** Work that ends when it is told to, and says that it has begun. */
function work() {
  let end: () => void = () => undefined;
  const done = new Promise<void>((resolve) => (end = resolve));
  const one = { begun: false, end, run: () => ((one.begun = true), done) };
  return one;
}

describe('turns', () => {
  const setUp = (limits: { most: number; waiting: number; restMs?: number }) => {
    const clock = new FakeClock();
    let idle = 0;
    const turns = createTurns({ restMs: 0, ...limits }, clock, () => idle++);
    return { clock, turns, idle: () => idle };
  };

  it('do so much at once, and the rest in the order it came', async () => {
    const { turns, idle } = setUp({ most: 2, waiting: 10 });
    const all = [work(), work(), work(), work()];
    const taken = all.map((one) => turns.take(one.run, { signal: never }));
    await settle();
    assert.deepEqual(
      all.map(({ begun }) => begun),
      [true, true, false, false],
    );
    all[1]?.end();
    await taken[1];
    await settle();
    assert.deepEqual(
      all.map(({ begun }) => begun),
      [true, true, true, false],
    );
    for (const { end } of all) end();
    await Promise.all(taken);
    await settle();
    assert.equal(idle(), 1);
  });

  it('refuse who would have to wait behind too many', async () => {
    const { turns } = setUp({ most: 1, waiting: 1 });
    const [first, second] = [work(), work()];
    const taken = [first, second].map((one) => turns.take(one.run, { signal: never }));
    await assert.rejects(turns.take(work().run, { signal: never }), { code: 'ERR_LIMIT' });
    first.end();
    second.end();
    await Promise.all(taken);
  });

  it('pass on the place of who gave up while waiting', async () => {
    const { turns } = setUp({ most: 1, waiting: 10 });
    const [first, second, third] = [work(), work(), work()];
    const giveUp = new AbortController();
    const taken = turns.take(first.run, { signal: never });
    const given = turns.take(second.run, { signal: giveUp.signal });
    const last = turns.take(third.run, { signal: never });
    giveUp.abort(new Error('enough'));
    await assert.rejects(given, /enough/);
    first.end();
    third.end();
    await Promise.all([taken, last]);
    assert.equal(second.begun, false);
  });

  it('go on after work that failed, and rest', async () => {
    const { clock, turns, idle } = setUp({ most: 1, waiting: 10, restMs: 50 });
    const failing = turns.take(() => Promise.reject(new Error('no')), { signal: never });
    const next = work();
    const taken = turns.take(next.run, { signal: never });
    await assert.rejects(failing, /no/);
    await settle();
    assert.equal(next.begun, false);
    await clock.advance(50);
    assert.equal(next.begun, true);
    next.end();
    await taken;
    assert.equal(idle(), 0);
    await clock.advance(50);
    assert.equal(idle(), 1);
  });
});
