import type { Clock } from '../core/clock.ts';
import { FairQueue, type TurnKey } from '../core/fair-queue.ts';

/** Somebody who reads a workload's identities: an open stream. */
export interface Reader {
  /** Something that this reader uses may have changed: look again. */
  refresh(): void;
}

/** Whose turn it is to be served: that of a pod or a user, and then of one of its processes. */
export interface Turn {
  readonly of: TurnKey;
  readonly pid: number;
}

/** Collects readers that have to look again and lets them do so in slices. */
export interface FanOut {
  /** Takes in a reader of a process; its place in the order is that of its coming. */
  add(reader: Reader, process: Turn): void;
  mark(reader: Reader): void;
  /** Forgets a reader that has gone. */
  remove(reader: Reader): void;
}

/** Changes that arrive within this time become one look, hence one push. */
const BURST_MS = 5;
/** Readers served in one turn of the event loop; a newcomer waits for one slice at the most. */
const SLICE = 64;
/** Those of one process that are served together: what they write is one packet on its connection. */
const A_TURN = 4;
/** Some have thousands of names to look at. */
const SLICE_MS = 5;

/**
 * Pods and users take turns, and the processes of one among themselves: nobody waits for all the
 * streams that another one has. Within that the newest are first: the oldest have the longest-lived copy of
 * what changed, the newest are those that may still be starting.
 */
export function createFanOut(clock: Clock, onError: (thrown: unknown) => void): FanOut {
  const places = new WeakMap<Reader, Place>();
  /** Marked in the burst that is going on. */
  const dirty = new Set<Reader>();
  const queue = new FairQueue<Reader[]>();
  const queued = new Set<Reader>();
  /** Of one process, whose turn it is. */
  let turn: Reader[] = [];
  let count = 0;
  let serving = false;

  function tick(): void {
    const marked = [...dirty].flatMap((reader) => {
      const place = places.get(reader);
      return place ? [{ reader, place }] : [];
    });
    dirty.clear();
    marked.sort((a, b) => b.place.order - a.place.order);
    const open = new Map<number, Reader[]>();
    for (const { reader, place } of marked) {
      queued.add(reader);
      const few = open.get(place.pid);
      if (few && few.length < A_TURN) few.push(reader);
      else {
        const next = [reader];
        open.set(place.pid, next);
        queue.push(next, place.of, place.pid);
      }
    }
    if (!serving) serveSlice();
  }

  function serveSlice(): void {
    const beganAt = clock.monotonic();
    for (let n = 0; n < SLICE && clock.monotonic() - beganAt < SLICE_MS; n++) {
      if (turn.length === 0) turn = queue.shift() ?? [];
      const reader = turn.shift();
      if (!reader) break;
      // One that is marked while it looks has to look again.
      queued.delete(reader);
      if (places.has(reader)) refresh(reader, onError);
    }
    serving = queued.size > 0;
    if (serving) setImmediate(serveSlice);
  }

  return {
    add(reader, { of, pid }) {
      places.set(reader, { order: count++, of, pid });
    },
    mark(reader) {
      if (!places.has(reader) || queued.has(reader)) return;
      if (dirty.size === 0) clock.after(BURST_MS, tick);
      dirty.add(reader);
    },
    remove(reader) {
      places.delete(reader);
    },
  };
}

interface Place extends Turn {
  readonly order: number;
}

/** One reader that fails does not keep the others from looking. */
function refresh(reader: Reader, onError: (thrown: unknown) => void): void {
  try {
    reader.refresh();
  } catch (thrown) {
    onError(thrown);
  }
}
