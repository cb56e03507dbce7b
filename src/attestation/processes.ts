import { abortReason, type Clock } from '../core/clock.ts';
import { systemCode } from '../core/errors.ts';
import type { Kernel } from './kernel.ts';
import { createLingering } from './lingering.ts';
import { credentialsChanged, type Peer } from './peer.ts';
import { createPins, type Pins } from './pins.ts';
import { ended, renew, type Checks, type Process } from './process.ts';
import { createRound } from './round.ts';

/** The processes behind all connections, each pinned once. */
export interface Processes {
  /**
   * Takes the peer over, also when it throws because it cannot be watched; a process that is known
   * already keeps its first pin.
   */
  join(peer: Peer): Process;
  leave(process: Process): void;
  /** From now on it is watched for these to fail. */
  attested(process: Process, checks: Checks): void;
  /** Whether it runs now, as what it was attested as; one look serves a turn. */
  isAlive(process: Process): boolean;
  /**
   * Looks thoroughly: throws `ERR_PEER_GONE` once it has ended or changed its user or group. One that
   * has only become another program ends as what it was, and is to be attested again.
   */
  examine(process: Process): void;
  /** Looks at what costs more as well: for each further stream. */
  review(process: Process): void;
  /** The same as an answer: whether it runs now, as all that it was attested as. */
  isUnchanged(process: Process): boolean;
  readonly size: number;
  close(): void;
}

/** Of those with a connection, how many are looked at in a tick, 1.5 µs each: all, or a few of many. */
const LOOKS = { all: 64, few: 16 };
/** The same where it takes opening a file, 10 to 25 µs each. */
const REVIEWS = { all: 8, few: 2 };

function atMost(size: number, { all, few }: { all: number; few: number }): number {
  return size <= all ? all : few;
}

/** @param mostLingering processes without a connection that stay pinned for a while. */
export function createProcesses(kernel: Kernel, clock: Clock, mostLingering: number): Processes {
  const lingering = createLingering<Process>(clock, {
    most: mostLingering,
    ownerOf: ({ peer }) => peer.credentials.uid,
    onEnd: (process) => pins.remove(process, ended('it has disconnected')),
  });
  /** Those with a connection; and which of them were attested by more than user and group. */
  const connected = createRound<Process>();
  const checked = createRound<Process>();
  const pins = createPins(kernel, clock, {
    onRemove(process) {
      lingering.stop(process);
      unwatch(process);
    },
    onTick() {
      for (const process of connected.next(atMost(connected.size, LOOKS)))
        endIfOther(process, pins);
      for (const process of checked.next(atMost(checked.size, REVIEWS))) {
        if (!endIfChanged(process, pins)) endIfSeenToDisagree(process, pins);
        watch(process);
      }
    },
  });
  const turns = createTurns(() => pins.look());

  function watch(process: Process): void {
    const { checks, connections } = process;
    if (connections === 0 || !pins.has(process)) return unwatch(process);
    connected.add(process);
    if (checks.holds || checks.agrees) checked.add(process);
    else checked.delete(process);
  }

  function unwatch(process: Process): void {
    connected.delete(process);
    checked.delete(process);
  }

  function isAlive(process: Process): boolean {
    const turn = turns.current();
    if (process.gone.signal.aborted) return false;
    if (process.seenInTurn === turn) return true;
    if (endIfChanged(process, pins)) return false;
    process.seenInTurn = turn;
    return true;
  }

  return {
    join(peer) {
      const known = pins.get(peer.key);
      if (known?.peer.hasExited()) pins.remove(known, ended('the process has ended'));
      else if (known) {
        peer.close();
        known.connections++;
        lingering.stop(known);
        watch(known);
        return known;
      }
      const process = pins.add(peer);
      watch(process);
      return process;
    },
    leave(process) {
      process.connections--;
      if (process.connections > 0 || !pins.has(process)) return;
      unwatch(process);
      // A process that was never attested has nothing worth keeping.
      if (process.caller) lingering.start(process);
      else pins.remove(process, ended('it has disconnected'));
    },
    attested(process, checks) {
      process.checks = checks;
      watch(process);
    },
    isAlive,
    isUnchanged(process) {
      if (!isAlive(process)) return false;
      const turn = turns.current();
      if (process.agreedInTurn === turn) return true;
      if (endIfSeenToDisagree(process, pins)) return false;
      process.agreedInTurn = turn;
      return true;
    },
    examine: (process) => examine(process, pins),
    review(process) {
      examine(process, pins);
      endIfDisagreeing(process, pins);
    },
    get size() {
      return pins.size;
    },
    close: () => pins.close(),
  };
}

/** Ends it, and says so, when it runs with another user or group. */
function endIfOther(process: Process, pins: Pins): boolean {
  const { peer } = process;
  if (peer.keepsCredentials()) return false;
  pins.remove(process, ended(credentialsChanged(peer.credentials)));
  return true;
}

/** Ends it as what it was attested as, and says so, unless it is that still. */
function endIfChanged(process: Process, pins: Pins): boolean {
  if (endIfOther(process, pins)) return true;
  if (process.checks.holds?.() ?? true) return false;
  renew(process, 'the process runs another program now');
  return true;
}

/**
 * The same by what takes longer to see, of one that is still the same otherwise. Throws when the
 * daemon itself is short of descriptors, which says nothing about the process.
 */
function endIfDisagreeing(process: Process, pins: Pins): boolean {
  if (agrees(process)) return false;
  if (process.peer.hasExited()) pins.remove(process, ended('the process has ended'));
  else renew(process, 'the process has changed its groups');
  return true;
}

function examine(process: Process, pins: Pins): void {
  if (process.peer.hasExited()) pins.remove(process, ended('the process has ended'));
  else endIfChanged(process, pins);
  if (process.gone.signal.aborted) throw abortReason(process.gone.signal);
}

/** The same for open streams: they go on until it is seen, a further one is refused. */
function endIfSeenToDisagree(process: Process, pins: Pins): boolean {
  try {
    return endIfDisagreeing(process, pins);
  } catch {
    return false;
  }
}

function agrees({ checks }: Process): boolean {
  try {
    return checks.agrees?.() ?? true;
  } catch (thrown) {
    const code = systemCode(thrown);
    if (code === 'EMFILE' || code === 'ENFILE') throw thrown;
    return false;
  }
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
