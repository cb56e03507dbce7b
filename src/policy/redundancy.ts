import type { PolicyEntry } from './entry.ts';
import { SelectorTree } from './selector-tree.ts';

/** An entry without which every process would get what it gets. */
export interface Redundant {
  readonly entry: PolicyEntry;
  readonly why: string;
}

interface Placed {
  readonly selectors: PolicyEntry['selectors'];
  readonly entry: PolicyEntry;
  /** Place among all entries. */
  readonly order: number;
}

/**
 * Entries that ask for all that another one of the same SPIFFE ID asks for, and for more. Not those
 * that go first where the entries of an ID differ, as in a shorter lifetime for some: they count.
 * @param entries in the order of the documents.
 */
export function* redundantEntries(entries: readonly PolicyEntry[]): Generator<Redundant> {
  for (const group of sharedIds(entries)) {
    const tree = new SelectorTree<Placed>();
    for (const placed of group) tree.add(placed);
    const alike = group.every(({ entry }) => saysTheSame(entry, group[0]?.entry ?? entry));
    for (const narrow of group) {
      const wide = widerOf(narrow, tree, alike);
      if (wide) yield { entry: narrow.entry, why: reason(narrow.entry, wide.entry, alike) };
    }
  }
}

/** The entries of each ID that has several. */
function sharedIds(entries: readonly PolicyEntry[]): Iterable<readonly Placed[]> {
  const firsts = new Map<string, Placed>();
  const groups = new Map<string, Placed[]>();
  for (const [order, entry] of entries.entries()) {
    const placed = { entry, order, selectors: entry.selectors };
    const first = firsts.get(entry.spiffeId);
    if (!first) {
      firsts.set(entry.spiffeId, placed);
      continue;
    }
    const group = groups.get(entry.spiffeId);
    if (group) group.push(placed);
    else groups.set(entry.spiffeId, [first, placed]);
  }
  return groups.values();
}

/** The first entry that makes this one needless; of entries that differ it has to go first. */
function widerOf(narrow: Placed, tree: SelectorTree<Placed>, alike: boolean): Placed | undefined {
  let first: Placed | undefined;
  tree.search(new Set(narrow.selectors), (wide) => {
    // The same selectors twice is an error of its own.
    if (wide.selectors.length >= narrow.selectors.length) return;
    if (!alike && !goesFirst(wide, narrow)) return;
    if (!first || wide.order < first.order) first = wide;
  });
  return first;
}

function reason({ spiffeId }: PolicyEntry, { source }: PolicyEntry, alike: boolean): string {
  return alike
    ? `redundant: ${source} gives ${spiffeId} to all that have some of these selectors`
    : `never counts: ${source} gives ${spiffeId} to all that this entry fits, and goes first`;
}

const goesFirst = (a: Placed, b: Placed) =>
  a.entry.priority !== b.entry.priority ? a.entry.priority > b.entry.priority : a.order < b.order;

/** Whether it makes no difference which of the two counts. */
function saysTheSame(a: PolicyEntry, b: PolicyEntry): boolean {
  return (
    a.x509SvidTtlMs === b.x509SvidTtlMs &&
    a.jwtSvidTtlMs === b.jwtSvidTtlMs &&
    a.hint === b.hint &&
    a.priority === b.priority &&
    a.dnsNames.join() === b.dnsNames.join() &&
    a.federatesWith.join() === b.federatesWith.join()
  );
}
