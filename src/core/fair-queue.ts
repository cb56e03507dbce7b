/** Whose turn it is: a user, a process, a pod. */
export type TurnKey = number | string;

/** A queue in which keys take turns: what one of them adds delays the others by one item each. */
export class FairQueue<T> {
  readonly #root = new Lane<T>();

  get size(): number {
    return this.#root.size;
  }

  /** Adds an item; turns go round the first keys, and for each of them round its second keys. */
  push(item: T, ...keys: readonly TurnKey[]): void {
    this.#root.push(item, keys, 0);
  }

  /** Takes out the item whose turn it is. */
  shift(): T | undefined {
    return this.#root.shift();
  }
}

interface Link<T> {
  readonly item: T;
  next: Link<T> | undefined;
}

/** Items in order of arrival, or lanes that take turns; a lane is one of both. */
class Lane<T> {
  size = 0;
  /** In the order of their turns: whoever had one goes to the end. */
  readonly #lanes = new Map<TurnKey, Lane<T>>();
  #first: Link<T> | undefined;
  #last: Link<T> | undefined;

  push(item: T, keys: readonly TurnKey[], level: number): void {
    this.size++;
    const key = keys[level];
    if (key === undefined) return this.#append(item);
    let lane = this.#lanes.get(key);
    if (!lane) this.#lanes.set(key, (lane = new Lane()));
    lane.push(item, keys, level + 1);
  }

  shift(): T | undefined {
    for (const [key, lane] of this.#lanes) {
      this.size--;
      const item = lane.shift();
      this.#lanes.delete(key);
      if (lane.size > 0) this.#lanes.set(key, lane);
      return item;
    }
    return this.#takeFirst();
  }

  #append(item: T): void {
    const link: Link<T> = { item, next: undefined };
    if (this.#last) this.#last.next = link;
    else this.#first = link;
    this.#last = link;
  }

  #takeFirst(): T | undefined {
    const link = this.#first;
    if (!link) return undefined;
    this.size--;
    this.#first = link.next;
    if (!link.next) this.#last = undefined;
    return link.item;
  }
}
