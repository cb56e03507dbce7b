import { unlessAborted, type Clock } from './clock.ts';
import { IdentityError } from './errors.ts';

export interface TurnsLimits {
  /** At once. */
  readonly most: number;
  /** That wait for one of those; more are refused. */
  readonly waiting: number;
  /** How long a place stays taken after its work is done, in milliseconds. */
  readonly restMs: number;
}

/** Work for one that is asked: some at once, the others in the order they came. */
export interface Turns {
  /** Rejects with `ERR_LIMIT` when too many wait, with the signal's reason, or as the work does. */
  take<T>(work: () => Promise<T>, options: { signal: AbortSignal }): Promise<T>;
}

interface Waiter {
  readonly start: () => void;
  started: boolean;
}

/** @param onIdle nothing is being done any more, and nobody waits. */
export function createTurns(
  { most, waiting, restMs }: TurnsLimits,
  clock: Clock,
  onIdle: () => void,
): Turns {
  const queue: Waiter[] = [];
  let taken = 0;

  /** The place goes from hand to hand: who comes in between finds it taken. */
  function release(): void {
    const next = queue.shift();
    if (next) {
      next.started = true;
      return next.start();
    }
    taken--;
    if (taken === 0) onIdle();
  }

  async function turn(signal: AbortSignal): Promise<void> {
    if (taken < most) {
      taken++;
      return;
    }
    if (queue.length >= waiting) {
      throw new IdentityError(
        'ERR_LIMIT',
        'too many processes wait for what attests them to be asked',
      );
    }
    let waiter: Waiter | undefined;
    const mine = new Promise<void>((start) => queue.push((waiter = { start, started: false })));
    try {
      await unlessAborted(mine, signal);
    } catch (thrown) {
      if (waiter?.started) release();
      else
        queue.splice(
          queue.findIndex((other) => other === waiter),
          1,
        );
      throw thrown;
    }
  }

  return {
    async take(work, { signal }) {
      await turn(signal);
      try {
        return await work();
      } finally {
        if (restMs > 0) clock.after(restMs, release);
        else release();
      }
    },
  };
}
