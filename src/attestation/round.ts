/** Things that take turns: whoever has had one comes after all that have not. */
export interface Round<T> {
  /** Last in the order; one that is in it keeps its place. */
  add(thing: T): void;
  delete(thing: T): void;
  next(): T | undefined;
  readonly size: number;
}

export function createRound<T>(): Round<T> {
  let now = new Set<T>();
  // Of the next round, those that come too: or who comes and goes would keep this one from its end.
  let later = new Set<T>();
  return {
    add(thing) {
      if (!now.has(thing)) later.add(thing);
    },
    delete(thing) {
      now.delete(thing);
      later.delete(thing);
    },
    get size() {
      return now.size + later.size;
    },
    next() {
      if (now.size === 0) [now, later] = [later, now];
      for (const thing of now) {
        now.delete(thing);
        later.add(thing);
        return thing;
      }
      return undefined;
    },
  };
}
