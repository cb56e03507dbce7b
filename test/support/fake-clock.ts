import type { Clock, Timer } from '../../src/core/clock.ts';

interface Pending {
  at: number;
  readonly order: number;
  readonly fn: () => void;
}

/** A clock that moves only when told; timers fire in order of their due time. */
export class FakeClock implements Clock {
  #now: number;
  #elapsed = 0;
  #order = 0;
  readonly #pending = new Set<Pending>();

  constructor(startMs = Date.parse('2030-01-01T00:00:00Z')) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  after(delayMs: number, fn: () => void): Timer {
    const item: Pending = { at: this.#now + Math.max(delayMs, 0), order: this.#order++, fn };
    this.#pending.add(item);
    return { cancel: () => void this.#pending.delete(item) };
  }

  /** How many timers wait. */
  get timers(): number {
    return this.#pending.size;
  }

  /** What is done takes this long; nothing else happens meanwhile. */
  spend(ms: number): void {
    this.#moveTo(this.#now + ms);
  }

  /** Moves on by `ms`, firing what falls due on the way and letting promises settle in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const next = [...this.#pending]
        .filter((item) => item.at <= end)
        .sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (!next) break;
      this.#pending.delete(next);
      this.#moveTo(next.at);
      next.fn();
    }
    this.#moveTo(end);
    await settle();
  }

  #moveTo(ms: number): void {
    this.#elapsed += Math.max(ms - this.#now, 0);
    this.#now = Math.max(this.#now, ms);
  }

  /** Sets the wall clock without firing anything: a suspended machine, an NTP step. */
  jump(ms: number): void {
    this.#now += ms;
  }

  /** Sets the wall clock as people do: timers count what passes, and are as far away as before. */
  turn(ms: number): void {
    this.#now += ms;
    for (const item of this.#pending) item.at += ms;
  }
}

/** Lets every promise that can settle do so. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}
