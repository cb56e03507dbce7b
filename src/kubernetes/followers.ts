/** Those who follow pods: a change is for all processes of one, who look at it in turns. */
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

/** Looks in one turn of the event loop; each sorts the selectors of a process and grants by them. */
const SLICE = 16;

export function createFollowers(onError: (thrown: unknown) => void): Followers {
  const looks = new Map<string, Set<() => void>>();
  /** Who waits keeps its place: changes in a row keep nobody from the turn. */
  const waiting = new Set<() => void>();
  let scheduled = false;

  function turn(): void {
    scheduled = false;
    let seen = 0;
    for (const look of waiting) {
      if (seen++ === SLICE) break;
      waiting.delete(look);
      try {
        look();
      } catch (thrown) {
        onError(thrown);
      }
    }
    later();
  }

  function later(): void {
    if (scheduled || waiting.size === 0) return;
    scheduled = true;
    setImmediate(turn);
  }

  return {
    add(podUid, look) {
      // A function of its own, should one be added twice.
      const own = () => look();
      const ofPod = looks.get(podUid) ?? new Set();
      looks.set(podUid, ofPod.add(own));
      return {
        catchUp() {
          if (waiting.delete(own)) own();
        },
        stop() {
          waiting.delete(own);
          ofPod.delete(own);
          if (ofPod.size === 0 && looks.get(podUid) === ofPod) looks.delete(podUid);
        },
      };
    },
    changed(podUid) {
      for (const look of looks.get(podUid) ?? []) waiting.add(look);
      later();
    },
  };
}
