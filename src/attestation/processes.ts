import { abortReason, type Clock } from '../core/clock.ts';
import type { Kernel } from './kernel.ts';
import { createLingering } from './lingering.ts';
import { credentialsChanged, type Peer } from './peer.ts';
import { createPins, type Pins } from './pins.ts';
import { ended, renew, type Process } from './process.ts';

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
  /** Looks at what costs more as well: for each further stream. */
  review(process: Process): void;
  readonly size: number;
  close(): void;
}

/** @param mostLingering processes without a connection that stay pinned for a while. */
export function createProcesses(kernel: Kernel, clock: Clock, mostLingering: number): Processes {
  const lingering = createLingering<Process>(clock, {
    most: mostLingering,
    ownerOf: ({ peer }) => peer.credentials.uid,
    onEnd: (process) => pins.remove(process, ended('it has disconnected')),
  });
  const pins = createPins(kernel, clock, lingering.stop);
  const turns = createTurns(() => pins.look());

  return {
    join(peer) {
      const known = pins.get(peer.key);
      if (known?.peer.hasExited()) pins.remove(known, ended('the process has ended'));
      else if (known) {
        peer.close();
        known.connections++;
        lingering.stop(known);
        return known;
      }
      return pins.add(peer);
    },
    leave(process) {
      process.connections--;
      if (process.connections > 0 || !pins.has(process)) return;
      // A process that was never attested has nothing worth keeping.
      if (process.caller) lingering.start(process);
      else pins.remove(process, ended('it has disconnected'));
    },
    isAlive(process) {
      const turn = turns.current();
      if (process.gone.signal.aborted) return false;
      if (process.seenInTurn === turn) return true;
      if (endIfChanged(process, pins)) return false;
      process.seenInTurn = turn;
      return true;
    },
    examine: (process) => examine(process, pins),
    review(process) {
      examine(process, pins);
      if (!process.agrees()) renew(process, 'the process has changed its groups');
    },
    get size() {
      return pins.size;
    },
    close: () => pins.close(),
  };
}

/** Ends it as what it was attested as, and says so, unless it is that still. */
function endIfChanged(process: Process, pins: Pins): boolean {
  const { peer } = process;
  if (!peer.keepsCredentials()) {
    pins.remove(process, ended(credentialsChanged(peer.credentials)));
    return true;
  }
  if (process.holds()) return false;
  renew(process, 'the process runs another program now');
  return true;
}

function examine(process: Process, pins: Pins): void {
  if (process.peer.hasExited()) pins.remove(process, ended('the process has ended'));
  else endIfChanged(process, pins);
  if (process.gone.signal.aborted) throw abortReason(process.gone.signal);
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
