import type { Clock, Timer } from './core/clock.ts';
import type { Mirror } from './kubernetes/follow.ts';

/** Who of the cluster's collections was heard of, and how long that is worth waiting for. */
export interface Hearing<S> {
  /** It is followed from now on; false when it was already. */
  expect(subject: S): boolean;
  /** For the mirror of it. */
  of(subject: S): Pick<Mirror, 'heard' | 'refused'>;
  /** Whether all of it was told once, or there is no such collection. */
  readonly knows: (subject: S) => boolean;
  /** Whether it may be told at any moment: it is expected, and has been for a short time only. */
  readonly awaits: (subject: S) => boolean;
  /** All that is expected at the start is. */
  begin(): void;
  /** Resolves when all that is expected was told of or will not be, in time; never rejects. */
  readonly all: Promise<void>;
  /** The same of these; one that is not expected at the start is not waited for. */
  these(...subjects: readonly S[]): Promise<void>;
  close(): void;
}

/** After that time from the start nobody is kept waiting for what was never heard. */
const PATIENCE_MS = 10_000;
/** A change waits longer: a right that is granted together with it is found after 10 s. */
const CHANGE_PATIENCE_MS = 15_000;

interface Ear {
  known: boolean;
  refused: boolean;
  overdue: boolean;
}

/** @param changed called when one is known for the first time, and when it is overdue */
export function createHearing<S>(clock: Clock, changed: (subject: S) => void): Hearing<S> {
  return new Ears(clock, changed);
}

class Ears<S> implements Hearing<S> {
  readonly all: Promise<void>;
  readonly #clock: Clock;
  readonly #changed: (subject: S) => void;
  readonly #ears = new Map<S, Ear>();
  readonly #waiting = new Set<() => void>();
  readonly #timers: Timer[] = [];
  #begun = false;
  #over = false;

  constructor(clock: Clock, changed: (subject: S) => void) {
    this.#clock = clock;
    this.#changed = changed;
    this.all = this.#until(() => [...this.#ears.values()].every(isSettled));
    this.#timers.push(clock.after(PATIENCE_MS, () => this.#end()));
  }

  these(...subjects: readonly S[]): Promise<void> {
    return this.#until(() => subjects.every((one) => isSettled(this.#ears.get(one))));
  }

  readonly knows = (subject: S) => this.#ears.get(subject)?.known === true;

  readonly awaits = (subject: S) => {
    const ear = this.#ears.get(subject);
    return ear !== undefined && !ear.known && !ear.overdue;
  };

  expect(subject: S): boolean {
    if (this.#ears.has(subject)) return false;
    const ear = { known: false, refused: false, overdue: false };
    this.#ears.set(subject, ear);
    const overdue = () => {
      ear.overdue = true;
      if (!ear.known) this.#changed(subject);
    };
    this.#timers.push(this.#clock.after(CHANGE_PATIENCE_MS, overdue));
    return true;
  }

  of(subject: S): Pick<Mirror, 'heard' | 'refused'> {
    return {
      heard: () => this.#know(subject),
      refused: (why) => (why === 'absent' ? this.#know(subject) : this.#refuse(subject)),
    };
  }

  begin(): void {
    this.#begun = true;
    this.#look();
  }

  close(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#end();
  }

  #know(subject: S): void {
    const ear = this.#ears.get(subject);
    if (!ear || ear.known) return;
    ear.known = true;
    // First: what is known now may ask for more.
    this.#changed(subject);
    this.#look();
  }

  #refuse(subject: S): void {
    const ear = this.#ears.get(subject);
    if (ear) ear.refused = true;
    this.#look();
  }

  #end(): void {
    this.#over = true;
    this.#look();
  }

  #until(isThere: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!this.#over && !(this.#begun && isThere())) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  #look(): void {
    for (const look of this.#waiting) look();
  }
}

/** Whether there is nothing more to wait for at the start. */
function isSettled(ear: Ear | undefined): boolean {
  return !ear || ear.known || ear.refused;
}
