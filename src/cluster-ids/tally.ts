import type { ClusterSpiffeId } from '../manifests/cluster-spiffe-id.ts';
import { unmet } from '../manifests/label-selector.ts';
import type { PodFacts, Texts } from '../manifests/template-fields.ts';
import type { Assessment, Surroundings } from './assess.ts';

/** How many namespaces and pods a `ClusterSPIFFEID` is for: the counts of its `status.stats`. */
export interface Stats {
  namespacesSelected: number;
  /** Of those selected, by configuration. */
  namespacesIgnored: number;
  podsSelected: number;
  podEntryRenderFailures: number;
  /** Pods to which another one gives the same ID for the same processes. */
  entriesMasked: number;
  entriesToSet: number;
}

/** What the pods that were counted come to. */
export interface Tally {
  readonly stats: Stats;
  /** Why the first pod without one has none, or none yet. */
  readonly failure: string | undefined;
}

/** Counts pod by pod. */
export interface Counting {
  add(pod: PodFacts, assessments: readonly Assessment[]): void;
  /** In the order of the manifests. */
  tallies(): ReadonlyMap<ClusterSpiffeId, Tally>;
}

/** @param namespaces all that there are, by name */
export function createCounting(
  ids: readonly ClusterSpiffeId[],
  namespaces: ReadonlyMap<string, Texts>,
  { ignoredNamespaces }: Pick<Surroundings, 'ignoredNamespaces'>,
): Counting {
  const tallies = new Map(
    ids.map((id): [ClusterSpiffeId, { stats: Stats; failure: string | undefined }] => {
      const selected = [...namespaces].filter(
        ([, labels]) => unmet(id.namespaceSelector, labels).length === 0,
      );
      const ignored = selected.filter(([name]) => ignoredNamespaces.has(name));
      const stats = {
        namespacesSelected: selected.length,
        namespacesIgnored: ignored.length,
        ...{ podsSelected: 0, podEntryRenderFailures: 0, entriesMasked: 0, entriesToSet: 0 },
      };
      return [id, { stats, failure: undefined }];
    }),
  );
  return {
    add(pod, assessments) {
      const seen = new Set<string>();
      for (const one of assessments) {
        const tally = tallies.get(one.id);
        if (!tally || one.kind === 'unselected') continue;
        const { stats } = tally;
        if (one.kind === 'unrendered' || one.kind === 'undecided') {
          tally.failure ??= `${pod.namespace}/${pod.name ?? '?'}: ${one.reason}`;
        }
        if (one.kind === 'undecided') continue;
        stats.podsSelected++;
        if (one.kind === 'unrendered') stats.podEntryRenderFailures++;
        if (one.kind !== 'rendered') continue;
        const key = [one.entitlement.id, ...[...one.selectors].sort()].join('\n');
        if (seen.has(key)) stats.entriesMasked++;
        else stats.entriesToSet++;
        seen.add(key);
      }
    },
    tallies: () => tallies,
  };
}
