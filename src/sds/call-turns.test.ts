import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createCallTurns } from './call-turns.ts';

const peer = (pid: number, uid = 1) => ({ pid, uid, gid: uid });

describe('createCallTurns()', () => {
  it('starts a call at once when little is going on', () => {
    const started: string[] = [];
    const turns = createCallTurns(new FakeClock());
    turns.take(peer(1), () => started.push('first') > 0);
    turns.take(peer(2), () => started.push('second') > 0);
    assert.deepEqual(started, ['first', 'second']);
  });

  it('starts no more than a few in one turn of the event loop, and all in the end', async () => {
    const counts: number[] = [];
    const turns = createCallTurns(new FakeClock());
    let started = 0;
    for (let n = 0; n < 100; n++) turns.take(peer(1), () => ++started > 0);
    for (let n = 0; n < 10; n++) {
      counts.push(started);
      await nextTurn();
    }
    assert.equal(started, 100);
    const steps = counts.map((count, n) => count - (counts[n - 1] ?? 0));
    assert.ok(Math.max(...steps) <= 16, String(steps));
  });

  it('lets a newcomer start next, whatever another process has opened before', async () => {
    const started: number[] = [];
    const turns = createCallTurns(new FakeClock());
    for (let n = 0; n < 1000; n++) turns.take(peer(1), () => started.push(1) > 0);
    turns.take(peer(2), () => started.push(2) > 0);
    await nextTurn();
    await nextTurn();
    assert.ok(started.indexOf(2) > 0 && started.indexOf(2) < 20, String(started.indexOf(2)));
  });

  it('passes over calls that are gone without losing its turn', async () => {
    const started: number[] = [];
    const turns = createCallTurns(new FakeClock());
    for (let n = 0; n < 20; n++) turns.take(peer(1), () => started.push(1) > 0);
    for (let n = 0; n < 500; n++) turns.take(peer(1), () => false);
    turns.take(peer(1), () => started.push(2) > 0);
    await nextTurn();
    await nextTurn();
    assert.equal(started.at(-1), 2);
  });

  it('reads on with two connections a turn, the processes in turns', async () => {
    const read: string[] = [];
    const turns = createCallTurns(new FakeClock());
    for (let n = 0; n < 5; n++) turns.readOn(peer(1), () => void read.push(`a${n}`));
    turns.readOn(peer(2), () => void read.push('b'));
    const counts: number[] = [];
    for (let n = 0; n < 6; n++) {
      counts.push(read.length);
      await nextTurn();
    }
    assert.deepEqual(read, ['a0', 'b', 'a1', 'a2', 'a3', 'a4']);
    assert.ok(
      counts.every((count, n) => count - (counts[n - 1] ?? 0) <= 2),
      String(counts),
    );
  });
});
