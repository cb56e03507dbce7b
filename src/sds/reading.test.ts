import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PeerCredentials } from '../identity/caller.ts';
import { createReading } from './reading.ts';

const peer = (pid: number, uid = 1): PeerCredentials => ({ pid, uid, gid: uid });

/** Connections that say whether they are read, and turns that come when the test wants. */
function setUp() {
  const turns: { pid: number; resume: () => void }[] = [];
  const reading = createReading(({ pid }, resume) => void turns.push({ pid, resume }));
  return {
    turns,
    connect: (pid: number, uid = 1) => {
      const seen = { read: true, pauses: 0 };
      const connection = reading.add({
        peer: peer(pid, uid),
        pause(paused) {
          seen.read = !paused;
          if (paused) seen.pauses++;
        },
      });
      return {
        seen,
        connection,
        open: (times: number) =>
          Array.from({ length: times }, () => connection.opened()).filter(Boolean).length,
        start(times: number) {
          for (let n = 0; n < times; n++) connection.started();
        },
      };
    },
    /** Lets all turns come that are waited for now. */
    turn: () => {
      for (const { resume } of turns.splice(0)) resume();
    },
  };
}

describe('createReading()', () => {
  it('reads a connection that opens a few calls at a time without a pause', () => {
    const { connect } = setUp();
    const proxy = connect(1);
    for (let n = 0; n < 100; n++) {
      proxy.open(10);
      proxy.start(10);
    }
    assert.equal(proxy.seen.pauses, 0);
  });

  it('reads no more of a connection until its calls have been started, and its turn has come', () => {
    const { connect, turn, turns } = setUp();
    const busy = connect(1);
    busy.open(100);
    assert.equal(busy.seen.read, false);
    turn();
    assert.equal(busy.seen.read, false);
    busy.start(90);
    assert.equal(busy.seen.read, false);
    assert.equal(turns.length, 1);
    turn();
    assert.equal(busy.seen.read, true);
  });

  it('reads the connections of a user in turns once it has many calls waiting', () => {
    const { connect, turn } = setUp();
    const [heavy, idle] = [connect(1), connect(1)];
    const [sibling, stranger] = [connect(2), connect(3, 2)];
    heavy.open(1000);
    const later = connect(1);
    const read = () => [idle, sibling, later].map(({ seen }) => seen.read);
    assert.deepEqual(read(), [false, false, false]);
    assert.equal(stranger.seen.read, true);
    turn();
    // A process that has opened nothing is read as soon as its turn comes; the heavy one is not.
    assert.deepEqual(read(), [false, true, false]);
    heavy.start(1000);
    turn();
    assert.deepEqual(read(), [true, true, true]);
    assert.equal(connect(1).seen.read, true);
  });

  it('keeps so many calls of one user and no more, and as many of another', () => {
    const { connect } = setUp();
    assert.equal(connect(1).open(10_000), 8192);
    assert.equal(connect(2).open(1), 0);
    assert.equal(connect(3, 2).open(100), 100);
  });

  it('remembers nothing of a connection that was closed while it was held', () => {
    const { connect, turn, turns } = setUp();
    const gone = connect(1);
    gone.open(300);
    gone.connection.close();
    gone.connection.close();
    turn();
    assert.equal(gone.seen.read, false);
    gone.start(300);
    assert.equal(turns.length, 0);
    assert.equal(connect(1).seen.read, true);
  });
});
