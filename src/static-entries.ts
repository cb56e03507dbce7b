import type { ClusterVerdict } from './cluster-ids/verdict.ts';
import type { TrustDomain } from './identity/spiffe-id.ts';
import type { Selector } from './identity/selector.ts';
import type { PolicyEntry } from './policy/entry.ts';
import type { StaticEntry } from './policy/static-entry.ts';

/** Which parents of an entry mean a node. */
export interface Parents {
  readonly trustDomain: TrustDomain;
  /** `policy.kubernetes.parent_ids`. */
  readonly parentIds: readonly string[];
}

/** Entries that the cluster has, by whether they are for this node. */
export interface StaticEntries {
  readonly here: readonly PolicyEntry[];
  readonly elsewhere: readonly {
    readonly entry: PolicyEntry;
    readonly source: string;
    readonly reason: string;
    /** Whether it names a node, if another one; else nobody says whom it means. */
    readonly namesNode: boolean;
    /** Whether it may be for this node, which is not known yet. */
    readonly isOpen: boolean;
  }[];
}

/**
 * Parts those that are for this node from those for others: an entry that SPIRE would give to one
 * agent is no other node's.
 *
 * @param nodeUid undefined while it is not known: then none that names a node is for this one
 */
export function partEntries(
  entries: readonly StaticEntry[],
  nodeUid: string | undefined,
  parents: Parents,
): StaticEntries {
  const here: PolicyEntry[] = [];
  const elsewhere: StaticEntries['elsewhere'][number][] = [];
  for (const one of entries) {
    if (isFor(one, (uid) => uid === nodeUid, parents)) {
      here.push(one.entry);
      continue;
    }
    const named = nodeNamed(one.parentId, parents.trustDomain);
    const reason =
      named === undefined
        ? `its parentID ${one.parentId} is not known to mean this node (policy.kubernetes.parent_ids)`
        : nodeUid === undefined
          ? `its parentID names the node ${named}, and the own one is not known (nodes: list, watch)`
          : `its parentID names the node ${named}, this one is ${nodeUid}`;
    const { entry } = one;
    const namesNode = named !== undefined;
    const isOpen = namesNode && nodeUid === undefined;
    elsewhere.push({ entry, source: entry.source, reason, namesNode, isOpen });
  }
  return { here, elsewhere };
}

/** Of entries that a process would have if they were for this node: why they are not. */
export function verdictsElsewhere(
  { elsewhere }: StaticEntries,
  selectors: readonly Selector[],
): readonly ClusterVerdict[] {
  const held = new Set(selectors);
  return elsewhere
    .filter(({ entry }) => entry.selectors.every((selector) => held.has(selector)))
    .map(({ entry, reason, isOpen }) => ({
      kind: isOpen ? 'undecided' : 'placeholder',
      entry,
      reason,
    }));
}

/** Whether an entry is for one of the nodes that `isNode` knows by their UIDs. */
export function isFor(
  { parentId }: StaticEntry,
  isNode: (uid: string) => boolean,
  { trustDomain, parentIds }: Parents,
): boolean {
  if (parentId === '' || parentIds.includes('*') || parentIds.includes(parentId)) return true;
  const uid = nodeNamed(parentId, trustDomain);
  return uid !== undefined && isNode(uid);
}

/** Whether one of the entries names a node, so that nodes have to be known. */
export function nameNodes(entries: readonly StaticEntry[], parents: Parents): boolean {
  return entries.some(
    (one) =>
      !isFor(one, () => false, parents) &&
      nodeNamed(one.parentId, parents.trustDomain) !== undefined,
  );
}

/** UID of the node whose agent has this ID, by SPIRE's attestor `k8s_psat`. */
function nodeNamed(parentId: string, trustDomain: TrustDomain): string | undefined {
  const path = `spiffe://${trustDomain}/spire/agent/k8s_psat/`;
  if (!parentId.startsWith(path)) return undefined;
  const [cluster, uid, ...more] = parentId.slice(path.length).split('/');
  return cluster === undefined || uid === undefined || more.length > 0 ? undefined : uid;
}
