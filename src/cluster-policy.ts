import { setMaxListeners } from 'node:events';
import type { Attestor } from './attestation/attestor.ts';
import { createClusterIds } from './cluster-ids/cluster-ids.ts';
import { manifestStatus, type ClusterParts, type ManifestStatus } from './cluster-status.ts';
import { policySources, type Config } from './config.ts';
import { unlessAborted, type Clock } from './core/clock.ts';
import { IdentityError } from './core/errors.ts';
import { createListeners } from './core/listeners.ts';
import type { Logger } from './core/log.ts';
import { surroundingsOf } from './config-cluster-policy.ts';
import { explainAll, type Explanation } from './explain-all.ts';
import { createLease } from './kubernetes/lease.ts';
import { writeStatuses, type StatusWritingDeps } from './status-writing.ts';
import { mergeEntitlements } from './identity/entitlement.ts';
import type { Selector } from './identity/selector.ts';
import { createManifestsHere, derived } from './manifests-here.ts';
import { createManifestsInForce, type ManifestsInForce } from './manifests-in-force.ts';
import type { ClusterSpiffeId } from './manifests/cluster-spiffe-id.ts';
import {
  onePerTrustDomain,
  type FederatedTrustDomain,
} from './manifests/federated-trust-domain.ts';
import type { NodePods } from './node-pods.ts';
import {
  followCluster,
  type ClusterChange,
  type ClusterDeps,
  type FollowedCluster,
} from './followed-cluster.ts';
import { compilePolicy } from './policy/policy.ts';
import type { PolicyStore } from './policy/store.ts';
import type { Attests } from './policy/unmatched.ts';
import { verdictsElsewhere } from './static-entries.ts';
import type { Entitlements } from './workload/workloads.ts';

/** All that grants identities: the policy's documents, and what the cluster has. */
export interface WholePolicy {
  readonly entitlements: Entitlements;
  /** Waits, before it says who a process is, until what may be for it was heard for the first time. */
  patient(attestor: Attestor): Attestor;
  explain(selectors: readonly Selector[]): Promise<Explanation>;
  /** Undefined where there are no pods. */
  readonly cluster: ClusterParts | undefined;
  /** What became of each manifest on this node. */
  status(): readonly ManifestStatus[];
  /** Whom to federate with, as manifests have it; told of as entitlements are. */
  federated(): readonly FederatedTrustDomain[];
  close(): void;
}

/** Puts what the cluster grants beside the policy of the documents. */
export function createWholePolicy(
  config: Config,
  store: PolicyStore,
  pods: NodePods | undefined,
  deps: Omit<ClusterDeps, 'namespaces'>,
): WholePolicy {
  const { kubernetes } = config.attestation;
  const { attests } = policySources(config);
  if (!kubernetes || !pods) return withoutPods(store, attests);
  const log = deps.log.child({ component: 'cluster policy' });
  const { namespaces } = pods;
  const followed = followCluster(config, kubernetes, { ...deps, log, namespaces });
  const parts = createParts(config, store, pods, followed, { clock: deps.clock, log });
  const { policies, cluster } = parts;
  const { ids } = cluster;
  const writing = new AbortController();
  setMaxListeners(0, writing.signal);
  const { statusLease } = config.clusterPolicy;
  if (statusLease) {
    const lease = { ...statusLease, holder: kubernetes.nodeName };
    startWriting(cluster, lease, { clock: deps.clock, log, signal: writing.signal });
  }
  return {
    entitlements: {
      match: (selectors) =>
        mergeEntitlements([
          ...policies().map((policy) => policy.match(selectors)),
          ids.match(selectors),
        ]),
      onChange: parts.onChange,
    },
    patient: (attestor) => patiently(attestor, followed),
    explain(selectors) {
      const { identities, verdicts } = ids.explain(selectors);
      const elsewhere = verdictsElsewhere(cluster.statics(), selectors);
      const told = { identities, verdicts: [...verdicts, ...elsewhere] };
      return explainAll(policies(), told, selectors, attests);
    },
    cluster,
    status: () => manifestStatus(cluster),
    federated: () => cluster.federated().inForce,
    close() {
      writing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      parts.close();
      ids.close();
      followed.close();
    },
  };
}

function withoutPods(store: PolicyStore, attests: Attests): WholePolicy {
  const none = { identities: [], verdicts: [] };
  return {
    entitlements: {
      match: (selectors) => store.current().match(selectors),
      onChange: (listener) => store.onChange(() => listener()),
    },
    patient: (attestor) => attestor,
    explain: (selectors) => explainAll([store.current()], none, selectors, attests),
    cluster: undefined,
    status: () => [],
    federated: () => onePerTrustDomain(store.current().manifests.federated).inForce,
    close: () => undefined,
  };
}

function startWriting(
  cluster: ClusterParts,
  lease: { readonly namespace: string; readonly name: string; readonly holder: string },
  deps: Omit<StatusWritingDeps, 'lease'>,
): void {
  const { followed } = cluster;
  writeStatuses(cluster, {
    ...deps,
    lease: createLease({ ...lease, api: followed.api, clock: deps.clock }),
  }).catch((err: unknown) => {
    if (!deps.signal.aborted) deps.log.error({ err }, 'no status is written any more');
  });
}

/** What is derived from documents, pods and the cluster, anew where one of them has changed. */
function createParts(
  config: Config,
  store: PolicyStore,
  pods: NodePods,
  followed: FollowedCluster,
  deps: { readonly clock: Clock; readonly log: Logger },
) {
  const { log } = deps;
  const changes = createListeners<Selector | undefined>((err) =>
    log.error({ err }, 'a listener failed'),
  );
  const entries = derived(compilePolicy);
  const inForce = followManifests(config, store, followed);
  const here = createManifestsHere(config, store, followed, log);
  const around = {
    ...surroundingsOf(config),
    complete: inForce.complete,
    namespaceLabels: followed.namespaceLabels,
    node: followed.node,
  };
  const ids = createClusterIds({ manifests: inForce.ids, pods: pods.index, around, ...deps });

  /** Only what has changed is looked at again. */
  function onCluster({ of, names }: ClusterChange): void {
    // Its entries have changed, or it has come out which are for this node.
    if (of !== 'namespaces' && here.look()) changes.emit(undefined);
    if (of === 'ClusterFederatedTrustDomain') changes.emit(undefined);
    if (of === 'ClusterStaticEntry' || of === 'ClusterFederatedTrustDomain') return;
    if (inForce.look()) return ids.refresh();
    if (of !== 'ClusterSPIFFEID' && inForce.uses(of)) ids.refresh(names);
  }
  const stops = [
    ids.onChange((pod) => changes.emit(pod)),
    store.onChange(() => {
      here.look();
      if (inForce.look()) ids.refresh();
      else changes.emit(undefined);
    }),
    followed.onChange(onCluster),
  ];
  inForce.look();
  followed.begin();
  return {
    cluster: { manifests: inForce.ids, ...here, ids, followed, around },
    policies: () => [store.current(), entries(here.statics().here)],
    onChange: (listener: (pod?: Selector) => void) => changes.add(listener),
    close: () => stops.forEach((stop) => stop()),
  };
}

/** The documents' manifests go before those of the cluster. */
function followManifests(
  { clusterPolicy: { watched } }: Config,
  store: PolicyStore,
  followed: FollowedCluster,
): ManifestsInForce {
  const all = derived((ofDocuments: readonly ClusterSpiffeId[], ofCluster: typeof ofDocuments) => [
    ...ofDocuments,
    ...ofCluster,
  ]);
  return createManifestsInForce({
    wanted: () => all(store.current().manifests.clusterIds, followed.clusterIds.values()),
    complete: () => !watched || followed.knows('ClusterSPIFFEID'),
    follow: followed.need,
    awaits: followed.awaits,
  });
}

/**
 * A process that is attested before anybody has told what it may have would be refused for nothing: it
 * waits for what may be for it. Of a process in no pod that is a `ClusterStaticEntry`.
 */
function patiently(attestor: Attestor, { heard, entriesHeard }: FollowedCluster): Attestor {
  let open = false;
  void heard.then(() => (open = true));
  const whenHeard: Attestor['attest'] = async (peer, options) => {
    await unlessAborted(entriesHeard, options.signal);
    const evidence = await attestor.attest(peer, options);
    if (evidence.selectors.length === 0) return evidence;
    await unlessAborted(heard, options.signal);
    // What was true before the wait may be so no more.
    return attestor.attest(peer, options);
  };
  return {
    name: attestor.name,
    attest: (peer, options) => (open ? attestor.attest(peer, options) : whenHeard(peer, options)),
  };
}
