import type { Clock } from '../core/clock.ts';
import { createFairTurns } from '../core/fair-turns.ts';

/** Those who follow pods: a change is for all processes of one; pods take turns to be looked at. */
export interface Followers {
  /** Has `look` called soon after each change of the pod. */
  add(podUid: string, look: () => void): Follower;
  /** The pod has changed. */
  changed(podUid: string): void;
}

export interface Follower {
  /** Looks at once, if it is to look at all: for whom the turn cannot be waited for. */
  readonly catchUp: () => void;
  readonly stop: () => void;
}

export function createFollowers(
  clock: Pick<Clock, 'monotonic'>,
  onError: (thrown: unknown) => void,
): Followers {
  const looks = new Map<string, Set<() => void>>();
  const turns = createFairTurns<() => void>({ look: lookOnce, clock, onError });

  function lookOnce(look: () => void): void {
    if (turns.delete(look)) look();
  }

  return {
    add(podUid, look) {
      // A function of its own, should one be added twice.
      const own = () => look();
      const ofPod = looks.get(podUid) ?? new Set();
      looks.set(podUid, ofPod.add(own));
      return {
        catchUp: () => lookOnce(own),
        stop() {
          turns.delete(own);
          ofPod.delete(own);
          if (ofPod.size === 0 && looks.get(podUid) === ofPod) looks.delete(podUid);
        },
      };
    },
    changed(podUid) {
      for (const look of looks.get(podUid) ?? []) turns.add(look, podUid);
    },
  };
}
