import { FairQueue } from '../core/fair-queue.ts';

/** Whose grant is older than the newest change; they take turns to get another. */
export interface Regrants<T> {
  /** From now on its grant is old. One that waits keeps its place, or changes in a row would starve it. */
  add(workload: T, uid: number): void;
  /** Whether its grant is old. */
  has(workload: T): boolean;
  /** It has its new grant, or needs none any more. */
  delete(workload: T): void;
}

/** Grants computed in one turn of the event loop. */
const SLICE = 16;

/** @param regrant deletes it here once it has a new grant; without that it still counts as old. */
export function createRegrants<T>(regrant: (workload: T) => void): Regrants<T> {
  const old = new Set<T>();
  const queued = new Set<T>();
  const queue = new FairQueue<T>();
  let scheduled = false;

  function later(): void {
    if (scheduled || queue.size === 0) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      for (let n = 0; n < SLICE; n++) {
        const workload = queue.shift();
        if (workload === undefined) break;
        queued.delete(workload);
        if (old.has(workload)) regrant(workload);
      }
      later();
    });
  }

  return {
    add(workload, uid) {
      old.add(workload);
      if (queued.has(workload)) return;
      queued.add(workload);
      queue.push(workload, uid);
      later();
    },
    has: (workload) => old.has(workload),
    delete: (workload) => void old.delete(workload),
  };
}
