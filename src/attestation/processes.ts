import { setMaxListeners } from 'node:events';
import type { Clock, Timer } from '../core/clock.ts';
import { abortReason } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { Caller } from '../identity/caller.ts';
import type { ExitWatch, Kernel } from './kernel.ts';
import { createLingering } from './lingering.ts';
import { credentialsChanged, type Peer } from './peer.ts';

/** A process with at least one connection, or one that had some a moment ago. */
export interface Process {
  readonly peer: Peer;
  connections: number;
  /** What it was attested as; shared by its connections. */
  caller: Promise<Caller> | undefined;
  /** Whether what it was attested by is still so. */
  holds: () => boolean;
  /** Ends what it was attested as; a new one follows when it is to be attested again. */
  gone: AbortController;
  /** How many times it has been found to be another program. */
  renewals: number;
  /** The turn of the event loop in which it was last seen to be itself. */
  seenInTurn: number;
}

/** The processes behind all connections, each pinned once. */
export interface Processes {
  /**
   * Takes the peer over, also when it throws because it cannot be watched; a process that is known
   * already keeps its first pin.
   */
  join(peer: Peer): Process;
  leave(process: Process): void;
  /** Whether it runs now, as what it was attested as; one look serves a turn. */
  isAlive(process: Process): boolean;
  /**
   * Looks thoroughly: throws `ERR_PEER_GONE` once it has ended or changed its user or group. One that
   * has only become another program ends as what it was, and is to be attested again.
   */
  examine(process: Process): void;
  readonly size: number;
  close(): void;
}

/** One system call for all processes; there is no way to wait for foreign descriptors in Node. */
const WATCH_MS = 100;

export function createProcesses(kernel: Kernel, clock: Clock): Processes {
  const processes = new Map<string, Process>();
  const byPidfd = new Map<number, Process>();
  const lingering = createLingering<Process>(clock, (process) => {
    retire(process, ended('it has disconnected'));
  });
  const watch: ExitWatch = kernel.createExitWatch();
  const turns = createTurns(endExited);
  let timer: Timer | undefined;
  let closed = false;

  function endExited(): void {
    // Each answer is a bounded number of them; one without a known process ends the asking.
    let more = true;
    while (more) {
      more = false;
      for (const pidfd of watch.exited()) {
        const process = byPidfd.get(pidfd);
        if (!process) continue;
        retire(process, ended('the process has ended'));
        more = true;
      }
    }
  }

  function arm(): void {
    if (processes.size === 0 || closed) return;
    timer ??= clock.after(WATCH_MS, () => {
      timer = undefined;
      endExited();
      arm();
    });
  }

  /** Not retired yet; the number alone would not tell, it is used again. */
  function isPinned(process: Process): boolean {
    return byPidfd.get(process.peer.pidfd) === process;
  }

  function retire(process: Process, reason: IdentityError): void {
    if (!isPinned(process)) return;
    byPidfd.delete(process.peer.pidfd);
    if (processes.get(process.peer.key) === process) processes.delete(process.peer.key);
    lingering.stop(process);
    watch.remove(process.peer.pidfd);
    process.peer.close();
    process.gone.abort(reason);
  }

  /** Ends it as what it was attested as, and says so, unless it is that still. */
  function endIfChanged(process: Process): boolean {
    const { peer } = process;
    if (!peer.keepsCredentials()) {
      retire(process, ended(credentialsChanged(peer.credentials)));
      return true;
    }
    if (process.holds()) return false;
    renew(process);
    return true;
  }

  function known(peer: Peer): Process | undefined {
    const process = processes.get(peer.key);
    if (!process?.peer.hasExited()) return process;
    retire(process, ended('the process has ended'));
    return undefined;
  }

  function pin(peer: Peer): Process {
    try {
      watch.add(peer.pidfd);
    } catch (thrown) {
      peer.close();
      throw thrown;
    }
    const process = newProcess(peer);
    processes.set(peer.key, process);
    byPidfd.set(peer.pidfd, process);
    arm();
    return process;
  }

  return {
    join(peer) {
      const process = known(peer);
      if (!process) return pin(peer);
      peer.close();
      process.connections++;
      lingering.stop(process);
      return process;
    },
    leave(process) {
      process.connections--;
      if (process.connections > 0 || !isPinned(process)) return;
      // A process that was never attested has nothing worth keeping.
      if (process.caller) lingering.start(process);
      else retire(process, ended('it has disconnected'));
    },
    isAlive(process) {
      const turn = turns.current();
      if (process.gone.signal.aborted) return false;
      if (process.seenInTurn === turn) return true;
      if (endIfChanged(process)) return false;
      process.seenInTurn = turn;
      return true;
    },
    examine(process) {
      if (process.peer.hasExited()) retire(process, ended('the process has ended'));
      else endIfChanged(process);
      if (process.gone.signal.aborted) throw abortReason(process.gone.signal);
    },
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

function newProcess(peer: Peer): Process {
  return {
    peer,
    connections: 1,
    caller: undefined,
    holds: () => true,
    gone: newEnd(),
    renewals: 0,
    seenInTurn: 0,
  };
}

/** It stays pinned: the process is the same. What it was attested as is over. */
function renew(process: Process): void {
  const { gone } = process;
  process.caller = undefined;
  process.holds = () => true;
  process.gone = newEnd();
  process.renewals++;
  gone.abort(ended('the process runs another program now'));
}

/** Every stream of a process listens to it. */
function newEnd(): AbortController {
  const end = new AbortController();
  setMaxListeners(0, end.signal);
  return end;
}

function ended(reason: string): IdentityError {
  return new IdentityError('ERR_PEER_GONE', reason);
}

/**
 * Numbers the turns of the event loop in which it is asked. Within one nothing else runs here: what
 * was true at its start is what there is to know.
 */
function createTurns(onEnter: () => void): { current(): number } {
  let turn = 0;
  let inTurn = false;
  return {
    current() {
      if (inTurn) return turn;
      inTurn = true;
      turn++;
      queueMicrotask(() => (inTurn = false));
      onEnter();
      return turn;
    },
  };
}
