import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { Clock } from './clock.ts';
import { createSchedule } from './schedule.ts';

const MAX_WAIT_MS = 30_000;

/** A schedule whose timers follow the fake clock while its wall clock can be set apart from it. */
function start() {
  const timers = new FakeClock(1_000_000);
  let stepMs = 0;
  const clock: Clock = {
    now: () => timers.now() + stepMs,
    monotonic: () => timers.monotonic(),
    after: (delayMs, fn) => timers.after(delayMs, fn),
  };
  const ran: string[] = [];
  return {
    clock,
    timers,
    schedule: createSchedule(clock),
    ran,
    mark: (name: string) => () => void ran.push(name),
    stepWallClock: (ms: number) => void (stepMs += ms),
  };
}

describe('createSchedule()', () => {
  it('runs each callback at its time, in the order of the times', async () => {
    const { schedule, clock, timers } = start();
    const ran: [string, number][] = [];
    const t0 = clock.now();
    for (const [name, at] of [
      ['c', 300],
      ['a', 100],
      ['late', 100_000],
      ['b', 200],
    ] as const) {
      schedule.at(t0 + at, () => ran.push([name, clock.now() - t0]));
    }
    await timers.advance(100_000);
    assert.deepEqual(ran, [
      ['a', 100],
      ['b', 200],
      ['c', 300],
      ['late', 100_000],
    ]);
  });

  it('runs everything exactly once and never early, whatever the times', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: -5000, max: 100_000 }), { maxLength: 80 }),
        async (delays) => {
          const { schedule, clock, timers } = start();
          const t0 = clock.now();
          const ran: number[] = [];
          for (const delay of delays) {
            schedule.at(t0 + delay, () => {
              assert.equal(clock.now() - t0, Math.max(delay, 0));
              ran.push(delay);
            });
          }
          await timers.advance(100_000);
          assert.deepEqual(
            ran,
            delays.toSorted((a, b) => a - b),
          );
          assert.equal(schedule.next(), undefined);
          assert.equal(timers.timers, 0);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('holds one timer however much is due', () => {
    const { schedule, clock, timers } = start();
    for (let n = 0; n < 1000; n++) schedule.at(clock.now() + 5000 - n, () => undefined);
    assert.equal(timers.timers, 1);
  });

  it('wakes earlier when something earlier comes', async () => {
    const { schedule, clock, timers, ran, mark } = start();
    schedule.at(clock.now() + 20_000, mark('later'));
    schedule.at(clock.now() + 50, mark('sooner'));
    assert.equal(schedule.next(), clock.now() + 50);
    await timers.advance(50);
    assert.deepEqual(ran, ['sooner']);
    await timers.advance(19_950);
    assert.deepEqual(ran, ['sooner', 'later']);
  });

  it('does not run what was cancelled, and runs what stood behind it', async () => {
    const { schedule, clock, timers, ran, mark } = start();
    const first = schedule.at(clock.now() + 10, mark('first'));
    schedule.at(clock.now() + 20, mark('second'));
    first.cancel();
    first.cancel();
    await timers.advance(20);
    assert.deepEqual(ran, ['second']);
  });

  it('lets a callback cancel another that is due in the same moment', async () => {
    const { schedule, clock, timers, ran, mark } = start();
    schedule.at(clock.now() + 10, () => doomed.cancel());
    const doomed = schedule.at(clock.now() + 11, mark('doomed'));
    timers.jump(11);
    await timers.advance(0);
    assert.deepEqual(ran, []);
  });

  it('lets cancelling after the run alone', async () => {
    const { schedule, clock, timers, ran, mark } = start();
    const first = schedule.at(clock.now() + 10, mark('first'));
    await timers.advance(10);
    schedule.at(clock.now() + 10, mark('second'));
    first.cancel();
    await timers.advance(10);
    assert.deepEqual(ran, ['first', 'second']);
  });

  it('spreads what is due at once over turns of the event loop', async () => {
    const { schedule, clock, timers } = start();
    const turns: number[] = [];
    let turn = 0;
    const counted: Clock = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      after: (delayMs, fn) =>
        timers.after(delayMs, () => {
          turn++;
          fn();
        }),
    };
    const busy = createSchedule(counted);
    for (let n = 0; n < 100; n++) busy.at(clock.now() + 10, () => turns.push(turn));
    await timers.advance(10);
    assert.equal(turns.length, 100);
    for (let t = 1; t <= turn; t++) assert.ok(turns.filter((at) => at === t).length <= 32);
    schedule.close();
  });

  it('gives others a turn when callbacks plan themselves again for now', async () => {
    const { schedule, clock, timers } = start();
    let runs = 0;
    let others = 0;
    const again = () => {
      if (++runs < 200) schedule.at(clock.now(), again);
    };
    schedule.at(clock.now(), again);
    timers.after(0, () => (others = runs));
    await timers.advance(0);
    assert.equal(runs, 200);
    assert.ok(others <= 32, `${others} runs before another timer`);
  });

  it('is late by no more than 30 s when the wall clock jumps forwards', async () => {
    const { schedule, clock, timers, stepWallClock, ran, mark } = start();
    schedule.at(clock.now() + 3_600_000, mark('hour'));
    await timers.advance(12_345);
    stepWallClock(7_200_000);
    await timers.advance(MAX_WAIT_MS);
    assert.deepEqual(ran, ['hour']);
  });

  it('looks again at least every 30 s, so no jump of any length is slept through', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 100_000_000 }),
        fc.integer({ min: 0, max: 200_000 }),
        async (delay, waited) => {
          const { schedule, clock, timers, stepWallClock, ran, mark } = start();
          schedule.at(clock.now() + delay, mark('it'));
          await timers.advance(Math.min(waited, delay - 1));
          assert.deepEqual(ran, []);
          stepWallClock(delay);
          await timers.advance(MAX_WAIT_MS);
          assert.deepEqual(ran, ['it']);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('waits for the wall clock when that was set back, and is on time then', async () => {
    const { schedule, clock, timers, stepWallClock } = start();
    const due = clock.now() + 1000;
    let ranAt: number | undefined;
    schedule.at(due, () => (ranAt = clock.now()));
    stepWallClock(-60_000);
    await timers.advance(60_000);
    assert.equal(ranAt, undefined);
    await timers.advance(1000);
    assert.equal(ranAt, due);
  });

  it('takes what is planned after the wall clock was set back at its time', async () => {
    const { schedule, clock, timers, stepWallClock, ran, mark } = start();
    schedule.at(clock.now() + 25_000, mark('old'));
    stepWallClock(-3_600_000);
    schedule.at(clock.now() + 40, mark('new'));
    await timers.advance(40);
    assert.deepEqual(ran, ['new']);
  });

  it('goes on with the others when a callback throws', async () => {
    const { schedule, clock, timers, ran, mark } = start();
    schedule.at(clock.now() + 10, () => {
      throw new Error('broken');
    });
    schedule.at(clock.now() + 10, mark('same time'));
    schedule.at(clock.now() + 20, mark('later'));
    await assert.rejects(timers.advance(10), { message: 'broken' });
    await timers.advance(10);
    assert.deepEqual(ran, ['same time', 'later']);
  });

  it('runs nothing after it was closed and holds no timer', async () => {
    const { schedule, clock, timers, ran, mark } = start();
    for (const delay of [5, 10, 50_000]) schedule.at(clock.now() + delay, mark('never'));
    schedule.close();
    assert.equal(schedule.next(), undefined);
    assert.equal(timers.timers, 0);
    await timers.advance(100_000);
    assert.deepEqual(ran, []);
  });

  it('may be closed by one of its callbacks', async () => {
    const { schedule, clock, timers, ran, mark } = start();
    schedule.at(clock.now() + 10, () => schedule.close());
    schedule.at(clock.now() + 10, mark('never'));
    await timers.advance(1000);
    assert.deepEqual(ran, []);
    assert.equal(timers.timers, 0);
  });
});
