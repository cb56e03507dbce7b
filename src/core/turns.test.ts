import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { createTurns, type TurnsLimits } from './turns.ts';

const never = { signal: new AbortController().signal, asker: 0 };

/** Work that ends when it is told to, and says that it has begun. */
function work() {
  let end: () => void = () => undefined;
  const done = new Promise<void>((resolve) => (end = resolve));
  const one = { begun: false, end, run: () => ((one.begun = true), done) };
  return one;
}

describe('turns', () => {
  const setUp = (limits: Partial<TurnsLimits> & { most: number; waiting: number }) => {
    const clock = new FakeClock();
    let idle = 0;
    const turns = createTurns(
      { waitingEach: 100, waitMs: 1000, restMs: 0, ...limits },
      clock,
      () => idle++,
    );
    return { clock, turns, idle: () => idle };
  };

  it('do so much at once, and the rest in the order it came', async () => {
    const { turns, idle } = setUp({ most: 2, waiting: 10 });
    const all = [work(), work(), work(), work()];
    const taken = all.map((one) => turns.take(one.run, never));
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
    const taken = [first, second].map((one) => turns.take(one.run, never));
    await assert.rejects(turns.take(work().run, never), { code: 'ERR_LIMIT' });
    first.end();
    second.end();
    await Promise.all(taken);
  });

  it('pass on the place of who gave up while waiting', async () => {
    const { turns } = setUp({ most: 1, waiting: 10 });
    const [first, second, third] = [work(), work(), work()];
    const giveUp = new AbortController();
    const taken = turns.take(first.run, never);
    const given = turns.take(second.run, { ...never, signal: giveUp.signal });
    const last = turns.take(third.run, never);
    giveUp.abort(new Error('enough'));
    await assert.rejects(given, /enough/);
    first.end();
    third.end();
    await Promise.all([taken, last]);
    assert.equal(second.begun, false);
  });

  it('leave places to others when one asker fills its own', async () => {
    const { turns } = setUp({ most: 1, waiting: 10, waitingEach: 2 });
    const order: number[] = [];
    const by = (asker: number) =>
      turns.take(() => Promise.resolve(void order.push(asker)), { ...never, asker });
    const [first] = [work()];
    const taken = turns.take(first.run, never);
    const flood = [by(1), by(1)];
    await assert.rejects(by(1), { code: 'ERR_LIMIT' });
    const other = by(2);
    first.end();
    await Promise.all([taken, ...flood, other]);
    assert.deepEqual(order, [1, 2, 1]);
  });

  it('are not waited for longer than so long, and who gave up takes no place', async () => {
    const { clock, turns } = setUp({ most: 1, waiting: 1 });
    const first = work();
    const taken = turns.take(first.run, never);
    const late = assert.rejects(turns.take(work().run, never), { code: 'ERR_ATTESTATION' });
    await clock.advance(1000);
    await late;
    const giveUp = new AbortController();
    const given = turns.take(work().run, { ...never, signal: giveUp.signal });
    giveUp.abort(new Error('enough'));
    const last = work();
    const waits = turns.take(last.run, never);
    await assert.rejects(given, /enough/);
    first.end();
    last.end();
    await Promise.all([taken, waits]);
    assert.equal(clock.timers, 0);
    await assert.rejects(turns.take(work().run, { ...never, signal: giveUp.signal }), /enough/);
  });

  it('go on after work that failed, and rest', async () => {
    const { clock, turns, idle } = setUp({ most: 1, waiting: 10, restMs: 50 });
    const failing = turns.take(() => Promise.reject(new Error('no')), never);
    const next = work();
    const taken = turns.take(next.run, never);
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
