import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createArrivals } from './arrivals.ts';

/** The descriptor says who connects: pid, and uid in what is above 100,000. */
const kernel = {
  peerCredentials: (fd: number) => ({ pid: fd % 100_000, uid: Math.floor(fd / 100_000), gid: 0 }),
};

function admitted(admits: (fd: number) => boolean, times: number, pid: number, uid = 1): number {
  return Array.from({ length: times }, () => admits(uid * 100_000 + pid)).filter(Boolean).length;
}

describe('createArrivals()', () => {
  it('lets a process connect so often, and again after a while', async () => {
    const clock = new FakeClock();
    const arrivals = createArrivals(kernel, clock);
    assert.equal(admitted(arrivals, 3000, 1), 2000);
    assert.equal(admitted(arrivals, 10, 2), 10);
    await clock.advance(1000);
    assert.equal(admitted(arrivals, 3000, 1), 1000);
  });

  it('lets a user no more by starting many processes, and another user as much', () => {
    const arrivals = createArrivals(kernel, new FakeClock());
    const counts = Array.from({ length: 100 }, (_, pid) => admitted(arrivals, 200, pid + 1));
    assert.equal(
      counts.reduce((a, b) => a + b),
      10_000,
    );
    assert.equal(admitted(arrivals, 100, 900, 2), 100);
  });

  it('takes nothing from a user for what its process may not', () => {
    const arrivals = createArrivals(kernel, new FakeClock());
    admitted(arrivals, 50_000, 1);
    assert.equal(admitted(arrivals, 2000, 2), 2000);
  });
});
