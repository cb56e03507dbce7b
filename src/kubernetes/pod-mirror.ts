import type { Clock } from '../core/clock.ts';
import type { Mirror } from './follow.ts';
import type { PodIndex } from './pod-index.ts';
import { readPod, type Pod } from './pod.ts';

/** Fills the index with the pods that a list and the events after it tell of. */
export interface PodMirror extends Mirror {
  /** @param kept which pods stay known beside those of the list; none unless told. */
  replace(objects: readonly unknown[], kept?: (listed: readonly Pod[]) => readonly Pod[]): void;
  /** Milliseconds since anything was heard; undefined before the first time. */
  heardAgoMs(): number | undefined;
  /** Why nothing is heard, since something last was. */
  failing(): { readonly reason: string; readonly agoMs: number } | undefined;
  /**
   * For a list that is asked for beside the events: what they tell until its answer is there is
   * newer than what it says, or followed by what is. Without it a pod that is deleted meanwhile
   * would come back to stay.
   */
  beside(): Mirror & { end(): void };
}

export function createPodMirror(
  index: Pick<PodIndex, 'replace' | 'put' | 'remove' | 'byUid'>,
  clock: Pick<Clock, 'monotonic'>,
): PodMirror {
  let heardAtMs: number | undefined;
  let fault: { readonly reason: string; readonly atMs: number } | undefined;
  let lists = 0;
  const besides = new Set<{ readonly told: Set<string>; readonly lists: number }>();
  const told = (uid: string) => {
    for (const beside of besides) beside.told.add(uid);
  };
  const heard = () => {
    heardAtMs = clock.monotonic();
    fault = undefined;
  };
  const failed = (reason: string) => {
    fault = { reason, atMs: fault?.atMs ?? clock.monotonic() };
  };
  const put = (object: unknown) => {
    for (const pod of toPod(object)) {
      told(pod.uid);
      index.put(pod);
    }
  };
  const remove = (object: unknown) => {
    for (const { uid } of toPod(object)) {
      told(uid);
      index.remove(uid);
    }
  };
  return {
    replace(objects, kept = () => []) {
      lists++;
      const listed = objects.flatMap(toPod);
      index.replace([...listed, ...kept(listed)]);
    },
    ...{ put, remove, heard, failed },
    heardAgoMs: () => (heardAtMs === undefined ? undefined : clock.monotonic() - heardAtMs),
    failing: () => fault && { reason: fault.reason, agoMs: clock.monotonic() - fault.atMs },
    beside() {
      const own = { told: new Set<string>(), lists };
      besides.add(own);
      return {
        replace(objects) {
          // A whole list that came in between is as new.
          if (own.lists !== lists) return;
          const listed = objects.flatMap(toPod).filter(({ uid }) => !own.told.has(uid));
          index.replace([...listed, ...[...own.told].flatMap((uid) => index.byUid(uid) ?? [])]);
        },
        ...{ put, remove, heard },
        end: () => void besides.delete(own),
      };
    },
  };
}

function toPod(object: unknown): readonly Pod[] {
  const pod = readPod(object);
  return pod ? [pod] : [];
}
