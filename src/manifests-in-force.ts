import { usesNode, type ClusterSpiffeId } from './manifests/cluster-spiffe-id.ts';

/** What a `ClusterSPIFFEID` may ask to be told of the cluster. */
export type Need = 'namespaces' | 'node';

/** The `ClusterSPIFFEID`s that count. */
export interface ManifestsInForce {
  /** The same list for as long as nothing has changed. */
  readonly ids: () => readonly ClusterSpiffeId[];
  /** Whether those of the cluster are among them, and not only those of documents. */
  readonly complete: () => boolean;
  /** Whether one of them needs this. */
  uses(need: Need): boolean;
  /** There are others, or more is known: whether others are in force now. */
  look(): boolean;
}

export interface ManifestsInForceDeps {
  /** Those there are now; the same list for as long as they are the same. */
  readonly wanted: () => readonly ClusterSpiffeId[];
  /** Whether the cluster has told of its own, where it is asked. */
  readonly complete: () => boolean;
  /** What is asked of the cluster depends on what manifests ask for: no more rights than that. */
  readonly follow: (need: Need) => void;
  /** Whether it is not known yet and worth a moment. */
  readonly awaits: (need: Need) => boolean;
}

/**
 * A change takes effect as a whole, once what it is the first to need was heard, or did not come in
 * time: until then it would take away what pods have by the manifests before.
 */
export function createManifestsInForce(deps: ManifestsInForceDeps): ManifestsInForce {
  let ids: readonly ClusterSpiffeId[] = [];
  let complete = false;
  let begun = false;
  let needs: ReadonlySet<Need> = new Set();
  return {
    ids: () => ids,
    complete: () => complete,
    uses: (need) => needs.has(need),
    look() {
      const next = { ids: deps.wanted(), complete: deps.complete() };
      if (next.ids === ids && next.complete === complete) return false;
      const wants = needsOf(next.ids);
      wants.forEach(deps.follow);
      // Of the first ones, of documents and of the cluster, nobody has anything yet.
      const first = !begun || (next.complete && !complete);
      if (!first && [...wants].some(deps.awaits)) return false;
      ({ ids, complete } = next);
      begun = true;
      needs = wants;
      return true;
    },
  };
}

function needsOf(ids: readonly ClusterSpiffeId[]): ReadonlySet<Need> {
  const needs = new Set<Need>();
  for (const id of ids) {
    if (id.namespaceSelector.length > 0) needs.add('namespaces');
    if (usesNode(id)) needs.add('node');
  }
  return needs;
}
