import { isOneOfAKind } from './contradiction.ts';
import type { PolicyEntry } from './entry.ts';
import { SelectorTree } from './selector-tree.ts';
import { fillKnown, hasPlaceholder } from './template.ts';

/** An entry without which every process would get what it gets. */
export interface Redundant {
  readonly entry: PolicyEntry;
  readonly why: string;
}

interface Placed {
  readonly selectors: PolicyEntry['selectors'];
  readonly entry: PolicyEntry;
  /** With the placeholders filled in that its own selectors fill. */
  readonly id: string;
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
      if (wide) yield { entry: narrow.entry, why: reason(narrow, wide, alike) };
    }
  }
}

/** The entries of each ID that has several. */
function sharedIds(entries: readonly PolicyEntry[]): Iterable<readonly Placed[]> {
  const firsts = new Map<string, Placed>();
  const groups = new Map<string, Placed[]>();
  for (const [order, entry] of entries.entries()) {
    const { spiffeId, selectors } = entry;
    const id = hasPlaceholder(spiffeId) ? fillKnown(spiffeId, selectors, isOneOfAKind) : spiffeId;
    const placed = { entry, order, selectors, id };
    const first = firsts.get(id);
    if (!first) {
      firsts.set(id, placed);
      continue;
    }
    const group = groups.get(id);
    if (group) group.push(placed);
    else groups.set(id, [first, placed]);
  }
  return groups.values();
}

/** The first entry that makes this one needless; of entries that differ it has to go first. */
function widerOf(narrow: Placed, tree: SelectorTree<Placed>, alike: boolean): Placed | undefined {
  let first: Placed | undefined;
  tree.search(new Set(narrow.selectors), (wide) => {
    if (wide === narrow) return;
    // The same selectors: as they stand in a template and beside it. One of the two has to stay.
    if (wide.selectors.length === narrow.selectors.length && !goesFirst(wide, narrow)) return;
    if (!alike && !goesFirst(wide, narrow)) return;
    if (!first || wide.order < first.order) first = wide;
  });
  return first;
}

function reason({ id, selectors }: Placed, wide: Placed, alike: boolean): string {
  const which = wide.selectors.length < selectors.length ? 'some of these' : 'these';
  return alike
    ? `redundant: ${wide.entry.source} gives ${id} to all that have ${which} selectors`
    : `never counts: ${wide.entry.source} gives ${id} to all that this entry fits, and goes first`;
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
