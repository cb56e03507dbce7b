import type { Clock, Timer } from './clock.ts';
import { Heap, type HeapItem } from './heap.ts';

/** A due time that can be taken back. */
export interface Scheduled {
  cancel(): void;
}

/**
 * Many due times on one timer. The timer looks again at least every `MAX_WAIT_MS`, so a wall clock
 * that jumps forwards (suspend, NTP) delays nothing by more than that.
 */
export interface Schedule {
  at(dueMs: number, fn: () => void): Scheduled;
  /** Earliest due time, wall clock, or undefined. */
  next(): number | undefined;
  close(): void;
}

const MAX_WAIT_MS = 30_000;
/** Callbacks run in one turn of the event loop before others get theirs. */
const PER_TURN = 32;

export function createSchedule(clock: Clock): Schedule {
  const heap = new Heap<() => void>();
  let timer: Timer | undefined;
  let armedFor = Infinity;

  function arm(): void {
    const due = heap.peek()?.at ?? Infinity;
    if (timer && due >= armedFor) return;
    timer?.cancel();
    timer = undefined;
    armedFor = Infinity;
    if (due === Infinity) return;
    const wait = Math.min(Math.max(due - clock.now(), 0), MAX_WAIT_MS);
    armedFor = clock.now() + wait;
    timer = clock.after(wait, fire);
  }

  function fire(): void {
    timer = undefined;
    armedFor = Infinity;
    const now = clock.now();
    try {
      for (let n = 0; n < PER_TURN; n++) {
        const item = heap.peek();
        if (!item || item.at > now) break;
        heap.remove(item);
        item.value();
      }
    } finally {
      // A callback that throws must not take the others' timer with it.
      arm();
    }
  }

  return {
    at(dueMs, fn) {
      const item: HeapItem<() => void> = heap.push(dueMs, fn);
      arm();
      return { cancel: () => void heap.remove(item) };
    },
    next: () => heap.peek()?.at,
    close() {
      timer?.cancel();
      timer = undefined;
      for (let item = heap.peek(); item; item = heap.peek()) heap.remove(item);
    },
  };
}
