import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { Kernel } from './kernel.ts';
import type { Peer } from './peer.ts';
import { createProcesses, type Processes } from './processes.ts';

/** A peer that is open until closed; pidfds are numbers here, as descriptors are to the kernel. */
class FakePeer implements Peer {
  readonly credentials = { pid: 7, uid: 1000, gid: 1000 };
  readonly executableLink = '/nowhere';
  readonly key: string;
  readonly pidfd: number;
  exited = false;
  closed = false;
  changed = false;

  constructor(key: string, pidfd: number) {
    this.key = key;
    this.pidfd = pidfd;
  }

  hasExited(): boolean {
    return this.exited || this.closed;
  }
  keepsCredentials(): boolean {
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
  let processes: Processes;

  beforeEach(() => {
    clock = new FakeClock();
    watched = new Set();
    ready = [];
    looks = 0;
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
    process.holds = () => holds;
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
