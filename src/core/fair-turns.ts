import type { Clock } from './clock.ts';
import { FairQueue, type TurnKey } from './fair-queue.ts';

/** Items to be looked at soon, in slices of the event loop, whose keys take turns. */
export interface FairTurns<T> {
  /** From now on it is due. One that waits keeps its place, or changes in a row would starve it. */
  add(item: T, key: TurnKey): void;
  /** Whether it is due. */
  has(item: T): boolean;
  /** It was looked at, or need not be any more; whether it was due. */
  delete(item: T): boolean;
}

export interface FairTurnsDeps<T> {
  /** Looks at one that is due, which stays so until it is deleted. */
  readonly look: (item: T) => void;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** What a look threw: it keeps the others from nothing. */
  readonly onError: (thrown: unknown) => void;
}

/** Looks before the event loop may turn to other things. */
const LOOKS_A_TURN = 16;
/** Some take long: a pod may have hundreds of labels, each one a selector. */
const MS_A_TURN = 5;

export function createFairTurns<T>({ look, clock, onError }: FairTurnsDeps<T>): FairTurns<T> {
  const due = new Set<T>();
  /** One that was looked at out of turn leaves its place behind, and takes it again. */
  const queued = new Set<T>();
  const queue = new FairQueue<T>();
  let scheduled = false;

  function later(): void {
    if (scheduled || queue.size === 0) return;
    scheduled = true;
    setImmediate(turn);
  }

  function turn(): void {
    scheduled = false;
    const beganAt = clock.monotonic();
    for (let n = 0; n < LOOKS_A_TURN && clock.monotonic() - beganAt < MS_A_TURN; n++) {
      const item = queue.shift();
      if (item === undefined) break;
      queued.delete(item);
      if (!due.has(item)) continue;
      try {
        look(item);
      } catch (thrown) {
        onError(thrown);
      }
    }
    later();
  }

  return {
    add(item, key) {
      due.add(item);
      if (queued.has(item)) return;
      queued.add(item);
      queue.push(item, key);
      later();
    },
    has: (item) => due.has(item),
    delete: (item) => due.delete(item),
  };
}
