import type { Clock, Timer } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { Caller } from '../identity/caller.ts';
import type { ExitWatch, Kernel } from './kernel.ts';
import { credentialsChanged, type Peer } from './peer.ts';

/** A process with at least one connection, or one that had some a moment ago. */
export interface Process {
  readonly peer: Peer;
  connections: number;
  /** What it was attested as; shared by its connections. */
  caller: Promise<Caller> | undefined;
  readonly gone: AbortController;
  /** The turn of the event loop in which it was last seen to be itself. */
  seenInTurn: number;
  lingering: Timer | undefined;
}

/** The processes behind all connections, each pinned once. */
export interface Processes {
  /**
   * Takes the peer over, also when it throws because it cannot be watched; a process that is known
   * already keeps its first pin.
   */
  join(peer: Peer): Process;
  leave(process: Process): void;
  /** Whether it runs now, with the user and group it connected with; one look serves a turn. */
  isAlive(process: Process): boolean;
  /** Ends a process that is not what it was attested as. */
  retire(process: Process, reason: IdentityError): void;
  readonly size: number;
  close(): void;
}

/** A reconnecting process keeps its identity, hence its SVID and key, for this long. */
const LINGER_MS = 60_000;
const MAX_LINGERING = 1024;
/** One system call for all processes; there is no way to wait for foreign descriptors in Node. */
const WATCH_MS = 100;

export function createProcesses(kernel: Kernel, clock: Clock): Processes {
  const processes = new Map<string, Process>();
  const byPidfd = new Map<number, Process>();
  const lingering = new Set<Process>();
  const watch: ExitWatch = kernel.createExitWatch();
  let timer: Timer | undefined;
  let closed = false;

  // Within one turn nothing else runs here: what was true at its start is what there is to know.
  let turn = 0;
  let inTurn = false;
  function enterTurn(): void {
    if (inTurn) return;
    inTurn = true;
    turn++;
    queueMicrotask(() => (inTurn = false));
    endExited();
  }

  function look(): void {
    timer = undefined;
    endExited();
    arm();
  }

  function endExited(): void {
    // Each answer is a bounded number of them; one without a known process ends the asking.
    let more = true;
    while (more) {
      more = false;
      for (const pidfd of watch.exited()) {
        const process = byPidfd.get(pidfd);
        if (!process) continue;
        retire(process, new IdentityError('ERR_PEER_GONE', 'the process has ended'));
        more = true;
      }
    }
  }

  /** Not retired yet; the number alone would not tell, it is used again. */
  function isPinned(process: Process): boolean {
    return byPidfd.get(process.peer.pidfd) === process;
  }

  function arm(): void {
    if (processes.size > 0 && !closed) timer ??= clock.after(WATCH_MS, look);
  }

  function retire(process: Process, reason: IdentityError): void {
    if (!isPinned(process)) return;
    byPidfd.delete(process.peer.pidfd);
    if (processes.get(process.peer.key) === process) processes.delete(process.peer.key);
    lingering.delete(process);
    process.lingering?.cancel();
    watch.remove(process.peer.pidfd);
    process.peer.close();
    process.gone.abort(reason);
  }

  function linger(process: Process): void {
    const end = () => retire(process, new IdentityError('ERR_PEER_GONE', 'it has disconnected'));
    // A process that was never attested has nothing worth keeping.
    if (!process.caller) return end();
    lingering.add(process);
    process.lingering = clock.after(LINGER_MS, end);
    const [oldest] = lingering;
    if (oldest && lingering.size > MAX_LINGERING) {
      retire(oldest, new IdentityError('ERR_PEER_GONE', 'it has disconnected'));
    }
  }

  return {
    join(peer) {
      const known = processes.get(peer.key);
      if (known && !known.peer.hasExited()) {
        peer.close();
        known.connections++;
        known.lingering?.cancel();
        known.lingering = undefined;
        lingering.delete(known);
        return known;
      }
      if (known) retire(known, new IdentityError('ERR_PEER_GONE', 'the process has ended'));
      const process: Process = {
        peer,
        connections: 1,
        caller: undefined,
        gone: new AbortController(),
        seenInTurn: 0,
        lingering: undefined,
      };
      try {
        watch.add(peer.pidfd);
      } catch (thrown) {
        peer.close();
        throw thrown;
      }
      processes.set(peer.key, process);
      byPidfd.set(peer.pidfd, process);
      arm();
      return process;
    },
    leave(process) {
      process.connections--;
      if (process.connections === 0 && isPinned(process)) linger(process);
    },
    isAlive(process) {
      enterTurn();
      if (process.gone.signal.aborted) return false;
      if (process.seenInTurn === turn) return true;
      if (!process.peer.keepsCredentials()) {
        const reason = credentialsChanged(process.peer.credentials);
        retire(process, new IdentityError('ERR_PEER_GONE', reason));
        return false;
      }
      process.seenInTurn = turn;
      return true;
    },
    retire,
    get size() {
      return processes.size;
    },
    close() {
      if (closed) return;
      closed = true;
      timer?.cancel();
      for (const process of [...processes.values()]) {
        retire(process, new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      }
      watch.close();
    },
  };
}
