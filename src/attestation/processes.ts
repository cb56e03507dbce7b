import { abortReason, type Clock } from '../core/clock.ts';
import { systemCode, type IdentityError } from '../core/errors.ts';
import type { Kernel } from './kernel.ts';
import { createLingering, type Lingering } from './lingering.ts';
import { credentialsChanged, type Peer } from './peer.ts';
import { createLooks, type Looks } from './looks.ts';
import { createPins, type Pins } from './pins.ts';
import { ended, renew, type Checks, type Process } from './process.ts';

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
  /** Ends it for all its connections, with the reason: nothing can be said of it any more. */
  end(process: Process, reason: IdentityError): void;
  /** Ends what it was attested as, with the reason: a further stream has it attested anew. */
  again(process: Process, reason: IdentityError): void;
  readonly size: number;
  close(): void;
}

/** @param mostLingering processes without a connection that stay pinned for a while. */
export function createProcesses(kernel: Kernel, clock: Clock, mostLingering: number): Processes {
  return new PinnedProcesses(kernel, clock, mostLingering);
}

class PinnedProcesses implements Processes {
  readonly #pins: Pins;
  readonly #lingering: Lingering<Process>;
  readonly #looks: Looks;
  readonly #turns = createTurns(() => this.#pins.look());

  constructor(kernel: Kernel, clock: Clock, mostLingering: number) {
    this.#pins = createPins(kernel, (process) => {
      this.#lingering.stop(process);
      this.#looks.unwatch(process);
    });
    this.#looks = createLooks(clock, {
      look: (process) => {
        if (this.#runs(process)) this.#endIfOther(process);
      },
      review: (process) => {
        if (this.#runs(process) && !this.#endIfChanged(process)) this.#endIfSeenToDisagree(process);
        this.#watch(process);
      },
    });
    this.#lingering = createLingering<Process>(clock, {
      most: mostLingering,
      ownerOf: ({ peer }) => peer.credentials.uid,
      onEnd: (process) => this.#pins.remove(process, ended('it has disconnected')),
    });
  }

  get size(): number {
    return this.#pins.size;
  }

  join(peer: Peer): Process {
    const known = this.#pins.get(peer.key);
    if (known?.peer.hasExited()) this.#pins.remove(known, ended('the process has ended'));
    else if (known) {
      peer.close();
      known.connections++;
      this.#lingering.stop(known);
      this.#watch(known);
      return known;
    }
    const process = this.#pins.add(peer);
    this.#watch(process);
    return process;
  }

  leave(process: Process): void {
    process.connections--;
    if (process.connections > 0 || !this.#pins.has(process)) return;
    this.#looks.unwatch(process);
    // A process that was never attested has nothing worth keeping.
    if (process.caller) this.#lingering.start(process);
    else this.#pins.remove(process, ended('it has disconnected'));
  }

  attested(process: Process, checks: Checks): void {
    process.checks = checks;
    this.#watch(process);
  }

  isAlive(process: Process): boolean {
    const turn = this.#turns.current();
    if (process.gone.signal.aborted) return false;
    if (process.seenInTurn === turn) return true;
    if (this.#endIfChanged(process)) return false;
    process.seenInTurn = turn;
    return true;
  }

  end(process: Process, reason: IdentityError): void {
    this.#pins.remove(process, reason);
  }

  again(process: Process, reason: IdentityError): void {
    if (this.#pins.has(process)) renew(process, reason);
  }

  isUnchanged(process: Process): boolean {
    const { gone } = process;
    if (!this.isAlive(process)) return false;
    const turn = this.#turns.current();
    if (process.agreedInTurn === turn) return true;
    // Who looks may be told of the end, and agree.
    if (this.#endIfSeenToDisagree(process) || gone.signal.aborted) return false;
    process.agreedInTurn = turn;
    return true;
  }

  examine(process: Process): void {
    if (process.peer.hasExited()) this.#pins.remove(process, ended('the process has ended'));
    else this.#endIfChanged(process);
    if (process.gone.signal.aborted) throw abortReason(process.gone.signal);
  }

  review(process: Process): void {
    this.examine(process);
    this.#endIfDisagreeing(process);
  }

  close(): void {
    this.#looks.close();
    this.#pins.close();
  }

  /** One that has ended has not changed: this is looked at first, once in a turn. */
  #runs(process: Process): boolean {
    this.#turns.current();
    return this.#pins.has(process);
  }

  #watch(process: Process): void {
    if (this.#pins.has(process)) this.#looks.watch(process);
  }

  /** Ends it, and says so, when it runs with another user or group. */
  #endIfOther(process: Process): boolean {
    const { peer } = process;
    if (peer.keepsCredentials()) return false;
    this.#pins.remove(process, ended(credentialsChanged(peer.credentials)));
    return true;
  }

  /** Ends it as what it was attested as, and says so, unless it is that still. */
  #endIfChanged(process: Process): boolean {
    if (this.#endIfOther(process)) return true;
    if (process.checks.holds?.() ?? true) return false;
    renew(process, ended('the process runs another program now'));
    return true;
  }

  /**
   * The same by what takes longer to see, of one that is still the same otherwise. Throws when the
   * daemon itself is short of descriptors, which says nothing about the process.
   */
  #endIfDisagreeing(process: Process): boolean {
    if (agrees(process)) return false;
    if (process.peer.hasExited()) this.#pins.remove(process, ended('the process has ended'));
    else renew(process, ended('the process is no longer seen to be what it was attested as'));
    return true;
  }

  /** The same for open streams: they go on until it is seen, a further one is refused. */
  #endIfSeenToDisagree(process: Process): boolean {
    try {
      return this.#endIfDisagreeing(process);
    } catch {
      return false;
    }
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
