/** Things that take turns: each call of `next` goes on where the last one stopped. */
export interface Round<T> {
  /** Last in the order; one that is in it keeps its place. */
  add(thing: T): void;
  delete(thing: T): void;
  /** The next ones, each at most once, at most `most`. */
  next(most: number): readonly T[];
  readonly size: number;
}

export function createRound<T>(): Round<T> {
  const things = new Set<T>();
  // Stays right whatever is added and deleted: a set's iterator is a place in it, no copy.
  let at = things.values();
  return {
    add: (thing) => void things.add(thing),
    delete: (thing) => void things.delete(thing),
    get size() {
      return things.size;
    },
    next(most) {
      const some: T[] = [];
      const count = Math.min(most, things.size);
      while (some.length < count) {
        const step = at.next();
        if (step.done) at = things.values();
        else some.push(step.value);
      }
      return some;
    },
  };
}
