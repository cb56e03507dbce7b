import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { createFanOut } from './fan-out.ts';

/** Readers that note their name when it is their turn. */
function readers(count: number) {
  const clock = new FakeClock();
  const errors: unknown[] = [];
  const fanOut = createFanOut(clock, (thrown) => errors.push(thrown));
  const seen: number[] = [];
  const all = Array.from({ length: count }, (_, n) => ({ refresh: () => void seen.push(n) }));
  for (const reader of all) fanOut.add(reader, { of: 1, pid: 1 });
  return { clock, fanOut, seen, errors, all };
}

describe('createFanOut()', () => {
  it('makes one look of a burst of changes', async () => {
    const { clock, fanOut, seen, all } = readers(3);
    for (let burst = 0; burst < 100; burst++) for (const reader of all) fanOut.mark(reader);
    assert.deepEqual(seen, []);
    await clock.advance(5);
    assert.deepEqual(seen, [2, 1, 0]);
    assert.equal(clock.timers, 0);
  });

  it('serves the newest first, whoever was marked first', async () => {
    const { clock, fanOut, seen, all } = readers(4);
    for (const n of [1, 3, 0, 2]) fanOut.mark(all[n] ?? assert.fail());
    await clock.advance(5);
    assert.deepEqual(seen, [3, 2, 1, 0]);
  });

  it('serves users in turn, and the processes of each', async () => {
    const clock = new FakeClock();
    const fanOut = createFanOut(clock, assert.ifError);
    const seen: string[] = [];
    const reader = (uid: number, pid: number, n: number) => {
      const one = { refresh: () => void seen.push(`${uid}.${pid}.${n}`) };
      fanOut.add(one, { of: uid, pid });
      return one;
    };
    const all = [reader(2, 20, 0)];
    for (let n = 0; n < 6; n++) all.push(reader(1, 10, n));
    all.push(reader(1, 11, 0));
    for (const one of all) fanOut.mark(one);
    await clock.advance(5);
    // Four of a process at a time: they share a connection.
    const [few, others] = [
      ['1.10.5', '1.10.4', '1.10.3', '1.10.2'],
      ['1.10.1', '1.10.0'],
    ];
    assert.deepEqual(seen, ['1.11.0', '2.20.0', ...few, ...others]);
  });

  it('takes in what changes while it serves many', async () => {
    const { clock, fanOut, seen, all } = readers(1000);
    for (const reader of all) fanOut.mark(reader);
    let before = 0;
    const other = { refresh: () => void (before = seen.length) };
    fanOut.add(other, { of: 2, pid: 2 });
    await clock.advance(5);
    const first = seen.length;
    fanOut.mark(other);
    await clock.advance(5);
    while (seen.length < 1000) await settle();
    assert.ok(first < 1000 && before > 0 && before < 1000, `${first}, ${before}`);
  });

  it('lets the event loop turn between slices', async () => {
    const { clock, fanOut, seen, all } = readers(1000);
    const turns: number[] = [];
    clock.after(5, () => {
      const look = () => {
        turns.push(seen.length);
        if (seen.length < 1000) setImmediate(look);
      };
      look();
    });
    for (const reader of all) fanOut.mark(reader);
    await clock.advance(5);
    while (seen.length < 1000) await settle();
    assert.equal(seen.length, 1000);
    const steps = turns.map((count, n) => count - (turns[n - 1] ?? 0));
    assert.ok(Math.max(...steps) <= 128, steps.join());
  });

  it('gives way earlier to others when a look takes long', async () => {
    const fake = new FakeClock();
    let nowMs = 0;
    const clock = {
      now: () => fake.now(),
      monotonic: () => nowMs,
      after: (delayMs: number, fn: () => void) => fake.after(delayMs, fn),
    };
    const fanOut = createFanOut(clock, assert.ifError);
    let seen = 0;
    const turns: number[] = [];
    for (let n = 0; n < 8; n++) {
      const reader = {
        refresh() {
          if (seen++ === 0) setImmediate(() => turns.push(seen));
          nowMs += 3;
        },
      };
      fanOut.add(reader, { of: 1, pid: 1 });
      fanOut.mark(reader);
    }
    await fake.advance(5);
    while (seen < 8) await settle();
    assert.deepEqual(turns, [2]);
  });

  it('looks again for a change that comes while it serves', async () => {
    const { clock, fanOut, seen, all } = readers(2);
    const [first = assert.fail(), second = assert.fail()] = all;
    fanOut.mark(first);
    clock.after(5, () => {
      fanOut.mark(first);
      fanOut.mark(second);
    });
    await clock.advance(5);
    await clock.advance(5);
    assert.deepEqual(seen, [0, 1, 0]);
  });

  it('does not look for a reader that has gone or never came', async () => {
    const { clock, fanOut, seen, all } = readers(2);
    for (const reader of all) fanOut.mark(reader);
    fanOut.remove(all[1] ?? assert.fail());
    fanOut.mark(all[1] ?? assert.fail());
    fanOut.mark({ refresh: () => assert.fail() });
    await clock.advance(5);
    assert.deepEqual(seen, [0]);
  });

  it('does not look for a reader that goes while another is served', async () => {
    const { clock, fanOut, seen, all } = readers(1);
    const last = { refresh: () => fanOut.remove(all[0] ?? assert.fail()) };
    fanOut.add(last, { of: 1, pid: 1 });
    fanOut.mark(all[0] ?? assert.fail());
    fanOut.mark(last);
    await clock.advance(5);
    assert.deepEqual(seen, []);
  });

  it('goes on when a reader fails', async () => {
    const { clock, fanOut, seen, errors, all } = readers(1);
    const broken = {
      refresh: () => {
        throw new Error('broken');
      },
    };
    fanOut.add(broken, { of: 1, pid: 1 });
    for (const reader of [...all, broken]) fanOut.mark(reader);
    await clock.advance(5);
    assert.deepEqual([seen, errors.length], [[0], 1]);
  });
});
