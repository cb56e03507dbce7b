import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createAdmission } from './admission.ts';
import type { Limit } from './metrics.ts';

const peer = (pid: number, uid: number) => ({ pid, uid, gid: uid });

function admission(more: Partial<Parameters<typeof createAdmission>[0]> = {}) {
  const clock = new FakeClock();
  const limits = {
    connections: 1000,
    connectionsPerUid: 2,
    connectionsPerPid: 100,
    streams: 6,
    names: 100,
    requestsPerSecond: 100,
    ...more,
  };
  const reached: Limit[] = [];
  return { clock, reached, gate: createAdmission(limits, clock, (limit) => reached.push(limit)) };
}

describe('createAdmission()', () => {
  it('lets a user have so many connections, and another as many again', () => {
    const { gate } = admission();
    const enter = (uid: number) => gate.enter(peer(uid, uid)).kind;
    assert.deepEqual([enter(1), enter(1), enter(1)], ['taken', 'taken', 'told']);
    assert.equal(enter(2), 'taken');
  });

  it('tells a user that a connection is one too many, and closes what comes after a few', () => {
    const { gate, reached } = admission();
    const enter = () => gate.enter(peer(1, 1));
    enter();
    enter();
    for (let n = 0; n < 16; n++) {
      const entry = enter();
      assert.ok(entry.kind === 'told');
      assert.equal(entry.refusal.code, 'ERR_LIMIT');
      assert.match(entry.refusal.message, /uid 1 has 2 connections/);
    }
    assert.equal(enter().kind, 'closed');
    assert.deepEqual(new Set(reached), new Set(['connections_per_uid']));
    assert.equal(gate.promote(peer(1, 1)), false);
    gate.leave(peer(1, 1), 'taken');
    assert.equal(gate.promote(peer(1, 1)), true);
    assert.equal(gate.promote(peer(1, 1)), false);
  });

  it('lets a process have so many connections', () => {
    const { gate, reached } = admission({ connectionsPerUid: 100, connectionsPerPid: 2 });
    const enter = (pid: number) => gate.enter(peer(pid, 1)).kind;
    assert.deepEqual([1, 1, 2, 1].map(enter), ['taken', 'taken', 'taken', 'told']);
    gate.leave(peer(1, 1), 'told');
    gate.leave(peer(1, 1), 'taken');
    assert.equal(enter(1), 'taken');
    assert.deepEqual(reached, ['connections_per_pid']);
  });

  it('lets no more in than there are descriptors for', () => {
    const { gate } = admission({ connections: 4, connectionsPerUid: 100 });
    const entered = [1, 1, 1, 2, 2, 3, 4].map((uid) => gate.enter(peer(uid, uid)).kind);
    const expected = ['taken', 'taken', 'closed', 'taken', 'closed', 'taken', 'closed'];
    assert.deepEqual(entered, expected);
  });

  it('keeps a process out for a while that was closed again and again, and nobody else', async () => {
    const { gate, clock } = admission({ connectionsPerUid: 100 });
    for (let n = 0; n < 3; n++) {
      assert.equal(gate.enter(peer(1, 1)).kind, 'taken');
      gate.blame(peer(1, 1));
    }
    const reason = 'its connections were closed for what it did';
    assert.deepEqual(gate.enter(peer(1, 1)), { kind: 'closed', reason });
    assert.equal(gate.enter(peer(2, 1)).kind, 'taken');
    await clock.advance(5000);
    assert.equal(gate.enter(peer(1, 1)).kind, 'taken');
  });

  it('lets one user have as many streams as it leaves to the others', () => {
    const { gate, reached } = admission();
    for (let n = 0; n < 3; n++) gate.open(peer(n, 1));
    const refused = { code: 'ERR_LIMIT', message: /uid 1 has 3 streams, 3 are left/ };
    assert.throws(() => gate.open(peer(9, 1)), refused);
    gate.open(peer(9, 2));
    gate.open(peer(9, 3));
    gate.open(peer(9, 4));
    assert.throws(() => gate.open(peer(9, 5)), { code: 'ERR_LIMIT', message: /0 are left/ });
    gate.close(peer(0, 1));
    gate.open(peer(9, 5));
    assert.deepEqual(new Set(reached), new Set(['streams']));
  });

  it('lets one user watch as many names as it leaves to the others', () => {
    const { gate } = admission({ names: 100 });
    gate.watch(peer(1, 1), 44);
    assert.throws(() => gate.watch(peer(2, 1), 1), { code: 'ERR_LIMIT', message: /44 names/ });
    gate.watch(peer(1, 2), 22);
    gate.watch(peer(1, 1), -44);
    gate.watch(peer(1, 1), 33);
    assert.throws(() => gate.watch(peer(1, 1), 1), { code: 'ERR_LIMIT' });
  });

  it('lets a process send twice its requests per second at once', async () => {
    const { gate, clock } = admission({ requestsPerSecond: 5 });
    for (let n = 0; n < 10; n++) gate.request(peer(1, 1), 1, false);
    assert.throws(() => gate.request(peer(1, 1), 1, false), {
      code: 'ERR_LIMIT',
      message: /more than 5/,
    });
    gate.request(peer(2, 1), 1, false);
    await clock.advance(1000);
    for (let n = 0; n < 5; n++) gate.request(peer(1, 1), 1, false);
    assert.throws(() => gate.request(peer(1, 1), 1, false));
  });

  it('counts the opening of a stream as a request, and no stream that was refused', () => {
    const { gate } = admission({ requestsPerSecond: 2, streams: 100 });
    for (let n = 0; n < 4; n++) gate.open(peer(1, 1));
    for (let n = 0; n < 4; n++) gate.close(peer(1, 1));
    assert.throws(() => gate.open(peer(1, 1)), { code: 'ERR_LIMIT' });
    assert.throws(() => gate.request(peer(1, 1), 1, false), { code: 'ERR_LIMIT' });
  });

  it('counts a request for many names as several, and the first of a stream by its names alone', () => {
    const { gate } = admission({ requestsPerSecond: 5 });
    gate.request(peer(1, 1), 1, true);
    gate.request(peer(1, 1), 128, true);
    assert.throws(() => gate.request(peer(1, 1), 100, false), { code: 'ERR_LIMIT' });
    gate.request(peer(2, 1), 143, false);
    gate.request(peer(2, 1), 1, false);
    assert.throws(() => gate.request(peer(2, 1), 1, false), { code: 'ERR_LIMIT' });
  });

  it('tells users apart whose processes are not visible', () => {
    const { gate } = admission({ requestsPerSecond: 1 });
    for (let n = 0; n < 2; n++) gate.request(peer(0, 1), 1, false);
    assert.throws(() => gate.request(peer(0, 1), 1, false));
    gate.request(peer(0, 2), 1, false);
  });

  it('gives up on a peer that asks again and again', () => {
    const { gate } = admission();
    const answers = Array.from({ length: 1001 }, () => gate.insists(peer(1, 1)));
    assert.equal(answers.indexOf(true), 1000);
    assert.equal(gate.insists(peer(2, 1)), false);
  });
});
