import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import { createArrivals } from './arrivals.ts';

/** The descriptor says who connects: pid, and uid in what is above 100,000. */
const kernel = {
  peerCredentials: (fd: number) => ({ pid: fd % 100_000, uid: Math.floor(fd / 100_000), gid: 0 }),
};

const LIMITS = { connectsPerSecondPerPid: 1000, connectsPerSecondPerUid: 2000 };

function arrivalsWith(clock = new FakeClock(), limits = LIMITS) {
  const log = new FakeLogger();
  return { arrivals: createArrivals(limits, { kernel, clock, log }), log };
}

function admitted(admits: (fd: number) => boolean, times: number, pid: number, uid = 1): number {
  return Array.from({ length: times }, () => admits(uid * 100_000 + pid)).filter(Boolean).length;
}

describe('createArrivals()', () => {
  it('lets a process connect so often, and again after a while', async () => {
    const clock = new FakeClock();
    const { arrivals } = arrivalsWith(clock);
    assert.equal(admitted(arrivals, 3000, 1), 2000);
    assert.equal(admitted(arrivals, 10, 2), 10);
    await clock.advance(1000);
    assert.equal(admitted(arrivals, 3000, 1), 1000);
  });

  it('lets a user no more by starting many processes, and another user as much', () => {
    const { arrivals } = arrivalsWith();
    const counts = Array.from({ length: 100 }, (_, pid) => admitted(arrivals, 200, pid + 1));
    assert.equal(
      counts.reduce((a, b) => a + b),
      10_000,
    );
    assert.equal(admitted(arrivals, 100, 900, 2), 100);
  });

  it('takes nothing from a user for what its process may not', () => {
    const { arrivals } = arrivalsWith();
    admitted(arrivals, 50_000, 1);
    assert.equal(admitted(arrivals, 2000, 2), 2000);
  });

  it('keeps to the limits it is given', async () => {
    const clock = new FakeClock();
    const limits = { connectsPerSecondPerPid: 3, connectsPerSecondPerUid: 4 };
    const { arrivals } = arrivalsWith(clock, limits);
    assert.equal(admitted(arrivals, 100, 1), 6);
    assert.equal(admitted(arrivals, 100, 2), 6);
    assert.equal(admitted(arrivals, 100, 3), 6);
    assert.equal(admitted(arrivals, 100, 4), 2);
    await clock.advance(1000);
    assert.equal(admitted(arrivals, 100, 1), 3);
    assert.equal(admitted(arrivals, 100, 2), 1);
  });

  it('says once per while who is turned away, and for what', async () => {
    const clock = new FakeClock();
    const { arrivals, log } = arrivalsWith(clock);
    admitted(arrivals, 5000, 7, 1);
    const reason =
      'its process may open 1000 connections a second (limits.connects_per_second_per_pid)';
    const line = { level: 'warn', message: 'connections closed at accept' };
    assert.deepEqual(log.lines, [{ ...line, fields: { peer_pid: 7, peer_uid: 1, reason } }]);
    admitted(arrivals, 5000, 8, 1);
    assert.equal(log.lines.length, 2);
    await clock.advance(10_000);
    admitted(arrivals, 5000, 7, 1);
    assert.equal(log.lines.length, 3);
  });

  it('says once of a user, however many processes it starts', () => {
    const { arrivals, log } = arrivalsWith();
    for (let pid = 1; pid <= 1000; pid++) admitted(arrivals, 100, pid, 5);
    assert.equal(log.lines.length, 1);
    const { peer_uid, reason } = log.lines[0]?.fields ?? {};
    assert.equal(peer_uid, 5);
    assert.match(reason ?? '', /2000 connections a second \(limits\.connects_per_second_per_uid\)/);
  });

  it('says nothing of those who are let in', () => {
    const { arrivals, log } = arrivalsWith();
    admitted(arrivals, 2000, 1);
    assert.deepEqual(log.lines, []);
  });
});
