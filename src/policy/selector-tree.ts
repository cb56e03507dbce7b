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
  for (let { children } = node; children && depth < item.selectors.length; depth++) {
    node = nodeFor(item, node, children, depth);
    ({ children } = node);
  }
  node.items.push(item);
  if (node.items.length > SPLIT && !node.children) split(node, depth);
}

/** Those that share many selectors are split as many times: no recursion, which has an end. */
function split<T extends Keyed>(start: Node<T>, from: number): void {
  let full: Node<T>[] = [start];
  for (let depth = from; full.length > 0; depth++) {
    const next: Node<T>[] = [];
    for (const node of full) {
      const items = node.items;
      // All end here: nothing to tell them apart by.
      if (items.every((item) => item.selectors.length === depth)) continue;
      node.items = [];
      node.children = new Map();
      for (const item of items) nodeFor(item, node, node.children, depth).items.push(item);
      for (const child of node.children.values()) if (child.items.length > SPLIT) next.push(child);
    }
    full = next;
  }
}

/** The node of an item one step further down; where there is no further step, the same. */
function nodeFor<T extends Keyed>(
  item: T,
  node: Node<T>,
  children: Map<Selector, Node<T>>,
  depth: number,
): Node<T> {
  const selector = item.selectors[depth];
  if (selector === undefined) return node;
  let child = children.get(selector);
  if (!child) children.set(selector, (child = { items: [], children: undefined }));
  return child;
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
