import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { Kernel } from './kernel.ts';
import type { Peer } from './peer.ts';
import { createProcesses, type Processes } from './processes.ts';

/** A peer that is open until closed; pidfds are numbers here, as descriptors are to the kernel. */
class FakePeer implements Peer {
  readonly cgroup = () => '0::/\n';
  readonly credentials = { pid: 7, uid: 1000, gid: 1000 };
  readonly executableLink = '/nowhere';
  readonly key: string;
  readonly pidfd: number;
  exited = false;
  closed = false;
  changed = false;
  /** How many times its user and group were looked at. */
  looks = 0;

  constructor(key: string, pidfd: number) {
    this.key = key;
    this.pidfd = pidfd;
  }

  hasExited(): boolean {
    return this.exited || this.closed;
  }
  keepsCredentials(): boolean {
    this.looks++;
    return !this.changed;
  }
  status(): string {
    return '';
  }
  startTicks(): number {
    return 0;
  }
  close(): void {
    this.closed = true;
  }
}

describe('createProcesses()', () => {
  let clock: FakeClock;
  let watched: Set<number>;
  let ready: number[];
  let looks: number;
  /** What the kernel calls once processes have ended. */
  let tell: (() => void) | undefined;
  let processes: Processes;

  beforeEach(() => {
    clock = new FakeClock();
    watched = new Set();
    ready = [];
    looks = 0;
    tell = undefined;
    const watch = {
      add(pidfd: number) {
        if (pidfd < 0) throw new Error('no such descriptor');
        watched.add(pidfd);
      },
      remove: (pidfd: number) => void watched.delete(pidfd),
      exited() {
        looks++;
        return ready.filter((pidfd) => watched.has(pidfd));
      },
      wait: (then: () => void) => (tell ??= then),
      close: () => watched.clear(),
    };
    processes = createProcesses({ createExitWatch: () => watch } as unknown as Kernel, clock, 1024);
  });

  /** A process that was attested, so that it lingers. */
  function join(peer: FakePeer) {
    const process = processes.join(peer);
    process.caller = new Promise(() => undefined);
    return process;
  }

  it('leaves a process alone that has got the descriptor number of an ended one', () => {
    const old = join(new FakePeer('old', 5));
    ready = [5];
    assert.equal(processes.isAlive(old), false);
    ready = [];
    const next = join(new FakePeer('next', 5));
    processes.leave(old);
    assert.equal(clock.timers, 1, 'no lingering begins, only the watch is armed');
    assert.throws(() => processes.examine(old), { code: 'ERR_PEER_GONE' });
    assert.equal(next.gone.signal.aborted, false);
    assert.equal(next.peer.hasExited(), false);
    assert.equal(processes.size, 1);
  });

  it('goes on when the kernel tells of a descriptor that nobody knows', () => {
    const process = join(new FakePeer('a', 5));
    watched.add(9);
    ready = [9];
    assert.equal(processes.isAlive(process), true);
    assert.ok(looks < 3);
  });

  it('ends a process when the kernel tells, and waits for the next', () => {
    const first = join(new FakePeer('a', 5));
    const second = join(new FakePeer('b', 6));
    for (const [process, pidfd] of [
      [first, 5],
      [second, 6],
    ] as const) {
      ready = [pidfd];
      const told = tell;
      tell = undefined;
      told?.();
      assert.match(String(process.gone.signal.reason), /the process has ended/);
    }
    assert.equal(tell, undefined, 'there is none left to wait for');
  });

  it('keeps no timer while there is no process', async () => {
    assert.equal(clock.timers, 0);
    const process = processes.join(new FakePeer('a', 5));
    assert.equal(clock.timers, 1);
    processes.leave(process);
    await clock.advance(1_000);
    assert.equal(clock.timers, 0);
    assert.deepEqual([...watched], []);
  });

  it('drops the process that has lingered longest when too many do', () => {
    const all = Array.from({ length: 1025 }, (_, n) => join(new FakePeer(`p${n}`, n)));
    for (const process of all) processes.leave(process);
    assert.equal(processes.size, 1024);
    assert.equal(all[0]?.gone.signal.aborted, true);
    assert.equal(all[1]?.gone.signal.aborted, false);
    assert.equal(all[0].peer.hasExited(), true, 'its descriptors are closed');
  });

  it('lets a process linger anew each time it comes and goes', async () => {
    const process = join(new FakePeer('a', 5));
    processes.leave(process);
    await clock.advance(59_000);
    const again = new FakePeer('a', 6);
    assert.equal(processes.join(again), process);
    assert.equal(again.closed, true, 'the second pin is not needed');
    processes.leave(process);
    await clock.advance(59_000);
    assert.equal(process.gone.signal.aborted, false);
    await clock.advance(1_000);
    assert.equal(process.gone.signal.aborted, true);
  });

  it('takes a process that comes back after the end of one with the same key for another', () => {
    const first = new FakePeer('a', 5);
    const process = join(first);
    first.exited = true;
    const second = processes.join(new FakePeer('a', 6));
    assert.notEqual(second, process);
    assert.equal(process.gone.signal.aborted, true);
  });

  it('sees changed credentials in the next turn, and asks once in each', async () => {
    const peer = new FakePeer('a', 5);
    const process = join(peer);
    const before = looks;
    assert.equal(processes.isAlive(process), true);
    assert.equal(processes.isAlive(process), true);
    assert.equal(looks, before + 1);
    await new Promise((resolve) => setImmediate(resolve));
    peer.changed = true;
    assert.equal(processes.isAlive(process), false);
  });

  it('ends what a process was attested as, but not the process, when it is another program', async () => {
    const process = join(new FakePeer('a', 5));
    let holds = true;
    processes.attested(process, { holds: () => holds });
    const { gone } = process;
    assert.equal(processes.isAlive(process), true);
    await new Promise((resolve) => setImmediate(resolve));
    holds = false;
    assert.equal(processes.isAlive(process), false);
    assert.equal((gone.signal.reason as { code?: string }).code, 'ERR_PEER_GONE');
    assert.equal(process.caller, undefined, 'it is to be attested again');
    assert.equal(process.gone.signal.aborted, false);
    assert.equal(processes.isAlive(process), true);
    assert.equal(processes.size, 1);
    assert.deepEqual([...watched], [5]);
  });

  describe('while nobody asks', () => {
    const TICK_MS = 100;

    /** Of so many processes, each attested by something that can change. */
    function joinMany(
      count: number,
      evidence: Parameters<Processes['attested']>[1] = {},
      prefix = 'p',
    ) {
      return Array.from({ length: count }, (_, n) => {
        const peer = new FakePeer(`${prefix}${n}`, prefix === 'p' ? n : 1000 + n);
        const process = join(peer);
        processes.attested(process, evidence);
        return { peer, process, gone: process.gone.signal };
      });
    }

    it('sees within a tick that a process has changed its user', async () => {
      const [one, other] = joinMany(2);
      assert.ok(one && other);
      one.peer.changed = true;
      await clock.advance(TICK_MS);
      assert.equal((one.gone.reason as { code?: string }).code, 'ERR_PEER_GONE');
      assert.match(String(one.gone.reason), /no longer runs with uid 1000/);
      assert.equal(one.peer.closed, true);
      assert.equal(other.gone.aborted, false);
    });

    it('sees within a tick that a process runs another program', async () => {
      let holds = true;
      const [one] = joinMany(1, { holds: () => holds });
      await clock.advance(TICK_MS);
      assert.equal(one?.gone.aborted, false);
      holds = false;
      await clock.advance(TICK_MS);
      assert.match(String(one.gone.reason), /another program/);
      assert.equal(one.peer.closed, false, 'it is the same process');
      assert.equal(one.process.caller, undefined, 'it is to be attested again');
    });

    it('sees within a tick that a process no longer agrees with its evidence', async () => {
      let agrees = true;
      const [one] = joinMany(1, { agrees: () => agrees });
      await clock.advance(TICK_MS);
      assert.equal(one?.gone.aborted, false);
      agrees = false;
      await clock.advance(TICK_MS);
      assert.match(String(one.gone.reason), /no longer seen to be/);
      assert.equal(one.peer.closed, false);
      agrees = true;
      processes.attested(one.process, { agrees: () => agrees });
      agrees = false;
      await clock.advance(TICK_MS);
      assert.equal(one.process.gone.signal.aborted, false, 'a new one, ended as well');
      assert.equal(one.process.renewals, 2);
    });

    it('looks at all of up to 256 in a tick, and at 120 of more in a second, none left out', async () => {
      const few = joinMany(256);
      await clock.advance(TICK_MS);
      assert.ok(few.every(({ peer }) => peer.looks === 1));
      const all = [...few, ...joinMany(64, undefined, 'q')];
      await clock.advance(TICK_MS);
      for (const { peer } of all) peer.looks = 0;
      await clock.advance(3000);
      assert.ok(all.every(({ peer }) => peer.looks >= 1));
      assert.equal(
        all.reduce((sum, { peer }) => sum + peer.looks, 0),
        3 * 120,
      );
    });

    it('looks at all of up to 32 where it takes a look at files, and at one of more', async () => {
      let looked = 0;
      joinMany(32, { agrees: () => looked++ >= 0 });
      await clock.advance(TICK_MS);
      assert.equal(looked, 32);
      joinMany(1, { agrees: () => looked++ >= 0 }, 'q');
      await clock.advance(TICK_MS);
      assert.equal(looked, 33);
    });

    it('ends the reviews of a tick after 5 ms, however long each takes', async () => {
      let looked = 0;
      joinMany(6, {
        agrees() {
          clock.spend(3);
          return ++looked > 0;
        },
      });
      await clock.advance(TICK_MS);
      assert.equal(looked, 2);
      await clock.advance(TICK_MS + 10);
      assert.equal(looked, 4);
    });

    it('leaves alone those that have no connection, until they have one again', async () => {
      let looked = 0;
      const [one] = joinMany(1, { agrees: () => looked++ >= 0 });
      assert.ok(one);
      processes.leave(one.process);
      await clock.advance(TICK_MS);
      assert.deepEqual([one.peer.looks, looked], [0, 0]);
      processes.join(new FakePeer('p0', 99));
      await clock.advance(TICK_MS);
      assert.ok(one.peer.looks > 0);
      assert.equal(looked, 1);
    });

    it('ends the streams of a process of which the kernel says nothing any more', async () => {
      const [one] = joinMany(1, {
        agrees() {
          throw Object.assign(new Error('hidden'), { code: 'EACCES' });
        },
      });
      await clock.advance(TICK_MS);
      assert.equal((one?.gone.reason as { code?: string }).code, 'ERR_PEER_GONE');
    });

    it('looks again later when it is the daemon that has no descriptor left', async () => {
      let code = 'EMFILE';
      const [one] = joinMany(1, {
        agrees() {
          throw Object.assign(new Error('not now'), { code });
        },
      });
      await clock.advance(3 * TICK_MS);
      assert.equal(one?.gone.aborted, false);
      code = 'ESRCH';
      await clock.advance(TICK_MS);
      assert.equal(one.gone.aborted, true);
    });

    it('looks at what takes files once in a turn when a renewal asks', async () => {
      let looked = 0;
      let agrees = true;
      const [one] = joinMany(1, {
        agrees() {
          looked++;
          return agrees;
        },
      });
      assert.ok(one);
      assert.equal(processes.isUnchanged(one.process), true);
      assert.equal(processes.isUnchanged(one.process), true);
      assert.equal(looked, 1);
      await new Promise((resolve) => setImmediate(resolve));
      agrees = false;
      assert.equal(processes.isUnchanged(one.process), false);
      assert.equal(one.gone.aborted, true);
    });
  });

  it('closes a peer that cannot be watched', () => {
    const peer = new FakePeer('a', -1);
    assert.throws(() => processes.join(peer), /no such descriptor/);
    assert.equal(peer.closed, true);
    assert.equal(processes.size, 0);
  });

  it('tells every process when it is closed, and watches none any more', async () => {
    const process = join(new FakePeer('a', 5));
    processes.close();
    assert.equal((process.gone.signal.reason as { code?: string }).code, 'ERR_SHUTDOWN');
    await clock.advance(1_000);
    assert.equal(clock.timers, 0);
  });
});
