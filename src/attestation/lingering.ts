import type { Clock, Timer } from '../core/clock.ts';

/** A reconnecting process keeps its identity, hence its SVID and key, for this long. */
const LINGER_MS = 60_000;

/** Things without a connection that stay for a while. */
export interface Lingering<T> {
  start: (thing: T) => void;
  /** It is in use again, or gone. */
  stop: (thing: T) => void;
}

export interface LingeringOptions<T> {
  /** How many may stay at once. */
  readonly most: number;
  /** Whose a thing is: who has most of them makes room for others. */
  readonly ownerOf: (thing: T) => number;
  /** Called with each that was not stopped in time, or has to make room. */
  readonly onEnd: (thing: T) => void;
}

export function createLingering<T>(clock: Clock, options: LingeringOptions<T>): Lingering<T> {
  const { most, ownerOf, onEnd } = options;
  /** By owner, those that have waited longest first. */
  const timers = new Map<number, Map<T, Timer>>();
  let size = 0;

  function stop(thing: T): void {
    const owner = ownerOf(thing);
    const own = timers.get(owner);
    const timer = own?.get(thing);
    if (!own || !timer) return;
    timer.cancel();
    own.delete(thing);
    size--;
    if (own.size === 0) timers.delete(owner);
  }

  function end(thing: T): void {
    stop(thing);
    onEnd(thing);
  }

  function makeRoom(): void {
    let largest: Map<T, Timer> | undefined;
    for (const own of timers.values()) if (own.size > (largest?.size ?? 0)) largest = own;
    const oldest = largest?.keys().next();
    if (oldest && !oldest.done) end(oldest.value);
  }

  return {
    start(thing) {
      stop(thing);
      const owner = ownerOf(thing);
      const own = timers.get(owner) ?? new Map<T, Timer>();
      timers.set(owner, own);
      own.set(
        thing,
        clock.after(LINGER_MS, () => end(thing)),
      );
      if (++size > most) makeRoom();
    },
    stop,
  };
}
