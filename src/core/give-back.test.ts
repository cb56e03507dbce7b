import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { giveBackAtRest } from './give-back.ts';

const LOOK_MS = 5000;

function watched() {
  const clock = new FakeClock();
  const done: string[] = [];
  let share = 0;
  const end = giveBackAtRest(clock, {
    worked: () => share,
    collect: () => Promise.resolve(done.push('collect')),
    trim: () => void done.push('trim'),
  });
  return {
    clock,
    done,
    end,
    work: (now: number) => (share = now),
  };
}

describe('giveBackAtRest()', () => {
  it('collects twice and trims once when rest follows work', async () => {
    const { clock, done, work } = watched();
    await clock.advance(LOOK_MS);
    work(0.5);
    await clock.advance(3 * LOOK_MS);
    assert.deepEqual(done, [], 'not while it works');
    work(0.002);
    await clock.advance(LOOK_MS);
    assert.deepEqual(done, ['collect', 'collect', 'trim']);
    await clock.advance(100 * LOOK_MS);
    assert.equal(done.length, 3, 'once for each time of work');
    work(0.5);
    await clock.advance(LOOK_MS);
    work(0);
    await clock.advance(LOOK_MS);
    assert.equal(done.length, 6);
  });

  it('does nothing for a process that has only just started, and nothing once it is ended', async () => {
    const { clock, done, work, end } = watched();
    work(1);
    await clock.advance(LOOK_MS);
    work(0);
    await clock.advance(10 * LOOK_MS);
    assert.deepEqual(done, []);
    work(1);
    await clock.advance(LOOK_MS);
    end();
    work(0);
    await clock.advance(10 * LOOK_MS);
    assert.deepEqual(done, []);
    assert.equal(clock.timers, 0);
  });
});
