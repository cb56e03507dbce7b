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
    requestsPerSecond: 100,
    ...more,
  };
  const reached: Limit[] = [];
  return { clock, reached, gate: createAdmission(limits, clock, (limit) => reached.push(limit)) };
}

describe('createAdmission()', () => {
  it('lets a user have so many connections, and another as many again', () => {
    const { gate } = admission();
    const enter = (uid: number) => gate.enter(peer(uid, uid));
    assert.deepEqual([enter(1), enter(1)], [undefined, undefined]);
    assert.equal(enter(1), 'too many connections of one user');
    assert.equal(enter(2), undefined);
    gate.leave(peer(1, 1));
    assert.equal(enter(1), undefined);
    assert.equal(enter(1), 'too many connections of one user');
  });

  it('lets a process have so many connections, and counts each refusal', () => {
    const { gate, reached } = admission({ connectionsPerUid: 100, connectionsPerPid: 2 });
    const enter = (pid: number) => gate.enter(peer(pid, 1));
    assert.deepEqual([enter(1), enter(1), enter(2)], [undefined, undefined, undefined]);
    assert.equal(enter(1), 'too many connections of one process');
    gate.leave(peer(1, 1));
    assert.equal(enter(1), undefined);
    assert.deepEqual(reached, ['connections_per_pid']);
  });

  it('lets no more in than there are descriptors for', () => {
    const { gate } = admission({ connections: 4, connectionsPerUid: 100 });
    const entered = [1, 1, 1, 2, 2, 3].map((uid) => gate.enter(peer(uid, uid)));
    const own = 'too many connections of one user';
    const all = 'too many connections in all';
    assert.deepEqual(entered, [undefined, undefined, own, undefined, undefined, all]);
  });

  it('keeps a process out for a while that was closed again and again, and nobody else', async () => {
    const { gate, clock } = admission({ connectionsPerUid: 100 });
    for (let n = 0; n < 3; n++) {
      assert.equal(gate.enter(peer(1, 1)), undefined);
      gate.blame(peer(1, 1));
    }
    assert.match(gate.enter(peer(1, 1)) ?? '', /closed for what it did/);
    assert.equal(gate.enter(peer(2, 1)), undefined);
    await clock.advance(5000);
    assert.equal(gate.enter(peer(1, 1)), undefined);
  });

  it('lets one user have half of the streams', () => {
    const { gate } = admission();
    for (let n = 0; n < 3; n++) gate.open(peer(n, 1));
    assert.throws(() => gate.open(peer(9, 1)), {
      code: 'ERR_LIMIT',
      message: /uid 1 .*3.*at most 3/,
    });
    for (let n = 0; n < 3; n++) gate.open(peer(n, 2));
    assert.throws(() => gate.open(peer(9, 3)), { code: 'ERR_LIMIT', message: /6 .*at most 6/ });
    gate.close(peer(0, 1));
    gate.open(peer(9, 3));
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
