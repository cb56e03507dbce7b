import type { Clock } from '../core/clock.ts';

/** Somebody who reads a workload's identities: an open stream. */
export interface Reader {
  /** Something that this reader uses may have changed: look again. */
  refresh(): void;
}

/** Collects readers that have to look again and lets them do so in slices. */
export interface FanOut {
  /** Takes a reader in; its place in the order is that of its coming. */
  add(reader: Reader): void;
  mark(reader: Reader): void;
  /** Forgets a reader that has gone. */
  remove(reader: Reader): void;
}

/** Changes that arrive within this time become one look, hence one push. */
const BURST_MS = 5;
/** Readers served in one turn of the event loop; a newcomer waits for one slice at the most. */
const SLICE = 64;
/** Some have thousands of names to look at. */
const SLICE_MS = 5;

/**
 * Readers are served newest first: the oldest have the longest-lived copy of what changed, the
 * newest are those that may still be starting.
 */
export function createFanOut(clock: Clock, onError: (thrown: unknown) => void): FanOut {
  let dirty = new Set<Reader>();
  const order = new WeakMap<Reader, number>();
  let count = 0;
  let waiting = false;
  let serving: Reader[] = [];

  function tick(): void {
    waiting = false;
    if (serving.length > 0) return;
    // Popped from the end: ascending order serves the newest first.
    serving = [...dirty].sort((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0));
    dirty = new Set();
    serveSlice();
  }

  function serveSlice(): void {
    const beganAt = clock.monotonic();
    for (let n = 0; n < SLICE && clock.monotonic() - beganAt < SLICE_MS; n++) {
      const reader = serving.pop();
      if (!reader) break;
      if (order.has(reader)) refresh(reader, onError);
    }
    if (serving.length > 0) setImmediate(serveSlice);
    else if (dirty.size > 0) schedule();
  }

  function schedule(): void {
    if (waiting || serving.length > 0) return;
    waiting = true;
    clock.after(BURST_MS, tick);
  }

  return {
    add(reader) {
      order.set(reader, count++);
    },
    mark(reader) {
      if (!order.has(reader)) return;
      dirty.add(reader);
      schedule();
    },
    remove(reader) {
      dirty.delete(reader);
      order.delete(reader);
    },
  };
}

/** One reader that fails does not keep the others from looking. */
function refresh(reader: Reader, onError: (thrown: unknown) => void): void {
  try {
    reader.refresh();
  } catch (thrown) {
    onError(thrown);
  }
}
