/** An entry of the heap; keep it to remove it. `index` belongs to the heap. */
export interface HeapItem<T> {
  readonly value: T;
  readonly at: number;
  index: number;
}

/** A binary min-heap on `at` whose items can be removed from the middle in O(log n). */
export class Heap<T> {
  readonly #items: HeapItem<T>[] = [];

  get size(): number {
    return this.#items.length;
  }

  peek(): HeapItem<T> | undefined {
    return this.#items[0];
  }

  push(at: number, value: T): HeapItem<T> {
    const item: HeapItem<T> = { value, at, index: this.#items.length };
    this.#items.push(item);
    this.#up(item);
    return item;
  }

  remove(item: HeapItem<T>): boolean {
    if (this.#items[item.index] !== item) return false;
    const last = this.#items.pop();
    if (last && last !== item) {
      last.index = item.index;
      this.#items[last.index] = last;
      this.#up(last);
      this.#down(last);
    }
    item.index = -1;
    return true;
  }

  #up(item: HeapItem<T>): void {
    while (item.index > 0) {
      const parent = this.#items[(item.index - 1) >> 1];
      if (!parent || parent.at <= item.at) return;
      this.#swap(item, parent);
    }
  }

  #down(item: HeapItem<T>): void {
    for (;;) {
      const left = this.#items[item.index * 2 + 1];
      const right = this.#items[item.index * 2 + 2];
      const child = right && left && right.at < left.at ? right : left;
      if (!child || item.at <= child.at) return;
      this.#swap(item, child);
    }
  }

  #swap(a: HeapItem<T>, b: HeapItem<T>): void {
    [a.index, b.index] = [b.index, a.index];
    this.#items[a.index] = a;
    this.#items[b.index] = b;
  }
}
