import type { Clock, Timer } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { ExitWatch, Kernel } from './kernel.ts';
import type { Peer } from './peer.ts';
import { ended, newProcess, type Process } from './process.ts';

/** The pinned processes, each watched for its end. */
export interface Pins {
  /** Takes the peer over, also when it throws because it cannot be watched. */
  add(peer: Peer): Process;
  get(key: string): Process | undefined;
  has(process: Process): boolean;
  /** Ends a process, with the reason; one that is not pinned has ended already. */
  remove(process: Process, reason: IdentityError): void;
  /** Removes those that have exited. */
  look: () => void;
  readonly size: number;
  close: () => void;
}

/** One system call for all processes; there is no way to wait for foreign descriptors in Node. */
const WATCH_MS = 100;

/** @param onRemove called with each process that is no longer pinned, before others are told. */
export function createPins(
  kernel: Pick<Kernel, 'createExitWatch'>,
  clock: Clock,
  onRemove: (process: Process) => void,
): Pins {
  const byKey = new Map<string, Process>();
  const byPidfd = new Map<number, Process>();
  const watch: ExitWatch = kernel.createExitWatch();
  let timer: Timer | undefined;
  let closed = false;

  function look(): void {
    // Each answer is a bounded number of them; one without a known process ends the asking.
    let more = true;
    while (more) {
      more = false;
      for (const pidfd of watch.exited()) {
        const process = byPidfd.get(pidfd);
        if (!process) continue;
        remove(process, ended('the process has ended'));
        more = true;
      }
    }
  }

  function arm(): void {
    if (byKey.size === 0 || closed) return;
    timer ??= clock.after(WATCH_MS, () => {
      timer = undefined;
      look();
      arm();
    });
  }

  /** The number alone would not tell, it is used again. */
  function has(process: Process): boolean {
    return byPidfd.get(process.peer.pidfd) === process;
  }

  function remove(process: Process, reason: IdentityError): void {
    if (!has(process)) return;
    const { peer, gone } = process;
    byPidfd.delete(peer.pidfd);
    if (byKey.get(peer.key) === process) byKey.delete(peer.key);
    onRemove(process);
    watch.remove(peer.pidfd);
    peer.close();
    gone.abort(reason);
  }

  return {
    add(peer) {
      try {
        watch.add(peer.pidfd);
      } catch (thrown) {
        peer.close();
        throw thrown;
      }
      const process = newProcess(peer);
      byKey.set(peer.key, process);
      byPidfd.set(peer.pidfd, process);
      arm();
      return process;
    },
    get: (key) => byKey.get(key),
    has,
    remove,
    look,
    get size() {
      return byKey.size;
    },
    close() {
      if (closed) return;
      closed = true;
      timer?.cancel();
      const reason = new IdentityError('ERR_SHUTDOWN', 'credence is shutting down');
      for (const process of [...byKey.values()]) remove(process, reason);
      watch.close();
    },
  };
}
