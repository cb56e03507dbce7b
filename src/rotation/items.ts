import { createItem, itemKey, type Item } from './item.ts';
import type { SvidRequest } from './minter.ts';

/** All items, by what is asked for and by who holds them. */
export class Items implements Iterable<Item> {
  readonly #byKey = new Map<string, Item>();
  readonly #byHolder = new Map<string, Set<Item>>();

  get size(): number {
    return this.#byKey.size;
  }

  [Symbol.iterator](): Iterator<Item> {
    return this.#byKey.values();
  }

  of(holder: string): Iterable<Item> {
    return this.#byHolder.get(holder) ?? [];
  }

  /** Holders in turn, each with one at a time: none waits for all that another one has. */
  inTurns(): Item[] {
    const lists = Array.from(this.#byHolder.values(), (siblings) => [...siblings]);
    const turns: Item[] = [];
    for (let n = 0; turns.length < this.size; n++) {
      for (const list of lists) {
        const item = list[n];
        if (item) turns.push(item);
      }
    }
    return turns;
  }

  /** The item of a request; there is one from now on. */
  obtain(holder: string, request: SvidRequest): Item {
    const known = this.#byKey.get(itemKey(holder, request));
    if (known) return known;
    const item = createItem(holder, request);
    this.#byKey.set(item.key, item);
    const siblings = this.#byHolder.get(holder);
    if (siblings) siblings.add(item);
    else this.#byHolder.set(holder, new Set([item]));
    return item;
  }

  delete(item: Item): void {
    this.#byKey.delete(item.key);
    const siblings = this.#byHolder.get(item.holder);
    siblings?.delete(item);
    if (siblings?.size === 0) this.#byHolder.delete(item.holder);
  }
}
