import type { Clock, Timer } from '../core/clock.ts';

/** A reconnecting process keeps its identity, hence its SVID and key, for this long. */
const LINGER_MS = 60_000;
const MAX_LINGERING = 1024;

/** Things without a connection that stay for a while, the longest waiting leaving first. */
export interface Lingering<T> {
  start: (thing: T) => void;
  /** It is in use again, or gone. */
  stop: (thing: T) => void;
}

/** @param onEnd called with each that was not stopped in time, or has to make room. */
export function createLingering<T>(clock: Clock, onEnd: (thing: T) => void): Lingering<T> {
  const timers = new Map<T, Timer>();

  function stop(thing: T): void {
    timers.get(thing)?.cancel();
    timers.delete(thing);
  }

  function end(thing: T): void {
    stop(thing);
    onEnd(thing);
  }

  return {
    start(thing) {
      stop(thing);
      timers.set(
        thing,
        clock.after(LINGER_MS, () => end(thing)),
      );
      const oldest = timers.keys().next();
      if (timers.size > MAX_LINGERING && !oldest.done) end(oldest.value);
    },
    stop,
  };
}
