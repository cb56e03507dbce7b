import type { Selector } from '../identity/selector.ts';

/** What the tree finds: `selectors` without duplicates, in the order the tree is to ask for them. */
export interface Keyed {
  readonly selectors: readonly Selector[];
}

interface Node<T> {
  /** Items whose selectors begin with the path to this node; few, unless they end here. */
  items: T[];
  children: Map<Selector, Node<T>> | undefined;
}

/** A node with more items than this is split by their next selector. */
const SPLIT = 8;

/**
 * Finds all items whose selectors are a subset of a caller's. The path to an item is its selectors,
 * so a search follows only what the caller has: with the rarest selector first, it ends after a few
 * steps, and no distribution of selectors makes it a scan.
 */
export class SelectorTree<T extends Keyed> {
  readonly #root: Node<T> = { items: [], children: new Map() };

  add(item: T): void {
    insert(this.#root, item, 0);
  }

  /** Calls `found` for each item that applies, in no particular order. */
  search(selectors: ReadonlySet<Selector>, found: (item: T) => void): void {
    visit(this.#root, selectors, 0, found);
  }
}

function insert<T extends Keyed>(start: Node<T>, item: T, from: number): void {
  let node = start;
  let depth = from;
  for (let children = node.children; children; children = node.children) {
    const selector = item.selectors[depth];
    if (selector === undefined) break;
    let child = children.get(selector);
    if (!child) {
      child = { items: [], children: undefined };
      children.set(selector, child);
    }
    node = child;
    depth++;
  }
  node.items.push(item);
  if (node.items.length > SPLIT && !node.children) split(node, depth);
}

function split<T extends Keyed>(node: Node<T>, depth: number): void {
  const items = node.items;
  // All end here: nothing to tell them apart by.
  if (items.every((item) => item.selectors.length === depth)) return;
  node.items = [];
  node.children = new Map();
  for (const item of items) insert(node, item, depth);
}

function visit<T extends Keyed>(
  node: Node<T>,
  selectors: ReadonlySet<Selector>,
  depth: number,
  found: (item: T) => void,
): void {
  for (const item of node.items) if (holds(item, selectors, depth)) found(item);
  if (!node.children) return;
  for (const selector of selectors) {
    const child = node.children.get(selector);
    if (child) visit(child, selectors, depth + 1, found);
  }
}

function holds(item: Keyed, selectors: ReadonlySet<Selector>, from: number): boolean {
  for (let n = from; n < item.selectors.length; n++) {
    const selector = item.selectors[n];
    if (selector !== undefined && !selectors.has(selector)) return false;
  }
  return true;
}
