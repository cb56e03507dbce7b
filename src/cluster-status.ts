import type { ClusterIds } from './cluster-ids/cluster-ids.ts';
import { assessPod, type Assessment, type Surroundings } from './cluster-ids/assess.ts';
import type { ManifestFigures } from './cluster-ids/metrics.ts';
import { createCounting, type Tally } from './cluster-ids/tally.ts';
import type { FollowedCluster } from './followed-cluster.ts';
import { eachPage } from './kubernetes/pages.ts';
import { readNamespace } from './kubernetes/namespaces.ts';
import { readNode, type Node } from './kubernetes/own-node.ts';
import { readPod } from './kubernetes/pod.ts';
import { usesNode, type ClusterSpiffeId } from './manifests/cluster-spiffe-id.ts';
import type { FederatedTrustDomains } from './manifests/federated-trust-domain.ts';
import { nameNodes, type Parents, type StaticEntries } from './static-entries.ts';

/** What became of a manifest on this node. */
export interface ManifestStatus {
  readonly source: string;
  /** Pods of this node that it selects; undefined for other kinds. */
  readonly podsSelected: number | undefined;
  /** Of them, those that get an ID by it. */
  readonly entries: number | undefined;
  readonly renderFailures: number | undefined;
  /** Why a pod that it selects gets nothing, what is wrong with it, what of it is not done; or its ID. */
  readonly note: string | undefined;
}

/** The parts that the status of manifests is made of. */
export interface ClusterParts {
  readonly manifests: () => readonly ClusterSpiffeId[];
  readonly federated: () => FederatedTrustDomains;
  readonly statics: () => StaticEntries;
  readonly parents: Parents;
  readonly ids: ClusterIds;
  readonly followed: FollowedCluster;
  readonly around: Surroundings;
}

/** Each manifest, with what it comes to for the pods of this node. */
export function manifestStatus(parts: ClusterParts): readonly ManifestStatus[] {
  const { ids, followed } = parts;
  const counting = createCounting(parts.manifests(), followed.namespaces(), parts.around);
  for (const [pod, assessments] of ids.assessments()) counting.add(pod, assessments);
  const none = { podsSelected: undefined, entries: undefined, renderFailures: undefined };
  const refused = [
    ['ClusterSPIFFEID', followed.clusterIds] as const,
    ['ClusterStaticEntry', followed.entries] as const,
    ['ClusterFederatedTrustDomain', followed.federated] as const,
  ].flatMap(([kind, watched]) =>
    watched.faults().map(({ name, fault, kept }) => ({
      ...none,
      source: `${kind}/${name}`,
      note: `refused, ${kept ? 'its last good version stays' : 'it has no effect'}: ${fault}`,
    })),
  );
  return [
    ...[...counting.tallies()].map(([{ source }, { stats, failure }]) => ({
      source,
      podsSelected: stats.podsSelected,
      entries: stats.entriesToSet,
      renderFailures: stats.podEntryRenderFailures,
      note: failure,
    })),
    ...parts.federated().inForce.map(({ source, trustDomain, trustDomainBundle }) => ({
      ...none,
      source,
      note: `bundles of ${trustDomain} are not fetched yet${trustDomainBundle === '' ? '' : ', its trustDomainBundle counts'}`,
    })),
    ...parts.federated().refused.map(({ source, reason }) => ({
      ...none,
      source,
      note: `refused, it has no effect: ${reason}`,
    })),
    ...parts.statics().here.map(({ source, spiffeId }) => ({
      ...none,
      source,
      note: `in force: ${spiffeId}`,
    })),
    ...parts.statics().elsewhere.map(({ source, reason }) => ({
      ...none,
      source,
      note: `it has no effect here: ${reason}`,
    })),
    ...refused,
  ];
}

/** The same as figures. */
export function manifestFigures(parts: ClusterParts): ManifestFigures {
  const { clusterIds, entries, federated } = parts.followed;
  const sum = (count: (assessments: readonly Assessment[]) => number) =>
    [...parts.ids.assessments()].reduce((total, [, all]) => total + count(all), 0);
  return {
    inForce: () =>
      parts.manifests().length + parts.federated().inForce.length + parts.statics().here.length,
    refused: () =>
      [clusterIds, entries, federated].reduce(
        (total, { faults }) => total + faults().length,
        parts.federated().refused.length,
      ),
    renderFailures: () => sum((all) => all.filter(({ kind }) => kind === 'unrendered').length),
    undecided: () => sum((all) => (all.some(({ kind }) => kind === 'undecided') ? 1 : 0)),
  };
}

export interface ClusterCount {
  readonly tallies: ReadonlyMap<ClusterSpiffeId, Tally>;
  /** Of all nodes, if an entry names one. */
  readonly nodeUids: ReadonlySet<string>;
}

/** Counts over all nodes: what one of them writes down for all. Rejects as the API does. */
export async function countCluster(
  { manifests, followed, parents, around }: Omit<ClusterParts, 'ids' | 'federated' | 'statics'>,
  options: { signal: AbortSignal },
): Promise<ClusterCount> {
  const ids = manifests();
  const { api } = followed;
  const nodes = new Map<string, Node>();
  if (ids.some(usesNode) || nameNodes(followed.entries.values(), parents)) {
    for await (const page of eachPage(api, '/api/v1/nodes', options)) {
      for (const node of page.map(readNode)) nodes.set(node.name, node);
    }
  }
  const namespaces = new Map<string, ReadonlyMap<string, string>>();
  for await (const page of eachPage(api, '/api/v1/namespaces', options)) {
    for (const [name, labels] of page.map(readNamespace)) namespaces.set(name, labels);
  }
  const counting = createCounting(ids, namespaces, around);
  for await (const page of eachPage(api, '/api/v1/pods', options)) {
    for (const object of page) {
      const pod = readPod(object);
      // One that no node has yet is nobody's.
      if (!pod || pod.nodeName === '') continue;
      const there = {
        ...around,
        namespaceLabels: (name: string) => namespaces.get(name),
        node: () => nodes.get(pod.nodeName),
      };
      counting.add(pod, assessPod(ids, pod, there));
    }
  }
  return {
    tallies: counting.tallies(),
    nodeUids: new Set([...nodes.values()].map(({ uid }) => uid)),
  };
}
