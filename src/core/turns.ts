import { abortReason, type Clock } from './clock.ts';
import { IdentityError } from './errors.ts';

export interface TurnsLimits {
  /** At once. */
  readonly most: number;
  /** That wait for one of those; more are refused. */
  readonly waiting: number;
  /** Of those, for one asker. */
  readonly waitingEach: number;
  /** The longest that one waits, in milliseconds. */
  readonly waitMs: number;
  /** How long a place stays taken after its work is done, in milliseconds. */
  readonly restMs: number;
}

export interface TurnOptions {
  readonly signal: AbortSignal;
  /** Who takes turns with the others, as the number of a user. */
  readonly asker: number;
}

/** Work for one that is asked: some at once; of the rest each asker's first in turn. */
export interface Turns {
  /**
   * Rejects with `ERR_LIMIT` when too many wait, `ERR_ATTESTATION` when its turn has not come in time,
   * with the signal's reason, or as the work does. Who waits no more takes no place.
   */
  take<T>(work: () => Promise<T>, options: TurnOptions): Promise<T>;
}

type Start = () => void;

/** @param onIdle nothing is being done any more, and nobody waits. */
export function createTurns(limits: TurnsLimits, clock: Clock, onIdle: () => void): Turns {
  const { most, waiting, waitingEach, waitMs, restMs } = limits;
  const queue = createQueue();
  let taken = 0;

  /** The place goes from hand to hand: who comes in between finds it taken. */
  function release(): void {
    const start = queue.shift();
    if (start) return start();
    taken--;
    if (taken === 0) onIdle();
  }

  function turn({ signal, asker }: TurnOptions): Promise<void> | undefined {
    if (taken < most) {
      taken++;
      return undefined;
    }
    if (queue.size >= waiting || queue.sizeOf(asker) >= waitingEach) throw tooMany();
    return new Promise((resolve, reject) => {
      const start = () => {
        stop();
        resolve();
      };
      const giveUp = (reason: Error) => {
        stop();
        queue.remove(asker, start);
        reject(reason);
      };
      const onAbort = () => giveUp(abortReason(signal));
      const timer = clock.after(waitMs, () => giveUp(tooLate(waitMs)));
      const stop = () => {
        timer.cancel();
        signal.removeEventListener('abort', onAbort);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      queue.push(asker, start);
    });
  }

  return {
    async take(work, options) {
      const { signal } = options;
      signal.throwIfAborted();
      await turn(options);
      try {
        // It may have been given up in the very moment in which its turn came.
        signal.throwIfAborted();
        return await work();
      } finally {
        if (restMs > 0) clock.after(restMs, release);
        else release();
      }
    },
  };
}

/** Askers in turn; who had one goes to the end. */
function createQueue() {
  const lanes = new Map<number, Set<Start>>();
  let size = 0;
  return {
    get size() {
      return size;
    },
    sizeOf: (asker: number) => lanes.get(asker)?.size ?? 0,
    push(asker: number, start: Start): void {
      size++;
      const lane = lanes.get(asker) ?? new Set();
      lanes.set(asker, lane.add(start));
    },
    remove(asker: number, start: Start): void {
      const lane = lanes.get(asker);
      if (!lane?.delete(start)) return;
      size--;
      if (lane.size === 0) lanes.delete(asker);
    },
    shift(): Start | undefined {
      for (const [asker, lane] of lanes) {
        lanes.delete(asker);
        for (const start of lane) {
          lane.delete(start);
          size--;
          if (lane.size > 0) lanes.set(asker, lane);
          return start;
        }
      }
      return undefined;
    },
  };
}

function tooMany(): IdentityError {
  return new IdentityError(
    'ERR_LIMIT',
    'too many processes wait for what attests them to be asked',
  );
}

function tooLate(ms: number): IdentityError {
  return new IdentityError(
    'ERR_ATTESTATION',
    `what attests the process could not be asked within ${ms / 1000} s, others are before it`,
  );
}
