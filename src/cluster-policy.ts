import { setMaxListeners } from 'node:events';
import type { Attestor } from './attestation/attestor.ts';
import { createClusterIds } from './cluster-ids/cluster-ids.ts';
import { manifestStatus, type ClusterParts, type ManifestStatus } from './cluster-status.ts';
import { policySources, type Config } from './config.ts';
import { unlessAborted } from './core/clock.ts';
import { IdentityError } from './core/errors.ts';
import { createListeners } from './core/listeners.ts';
import type { Logger } from './core/log.ts';
import { surroundingsOf } from './config-cluster-policy.ts';
import { explainAll, type Explanation } from './explain-all.ts';
import { createLease } from './kubernetes/lease.ts';
import { writeStatuses } from './status-writing.ts';
import { mergeEntitlements } from './identity/entitlement.ts';
import type { Selector } from './identity/selector.ts';
import { fieldsUsed, type ClusterSpiffeId } from './manifests/cluster-spiffe-id.ts';
import { onePerTrustDomain } from './manifests/federated-trust-domain.ts';
import type { NodePods } from './node-pods.ts';
import { followCluster, type ClusterDeps, type FollowedCluster } from './followed-cluster.ts';
import { compilePolicy, type Policy } from './policy/policy.ts';
import type { PolicyStore } from './policy/store.ts';
import { nameNodes, partEntries, verdictsElsewhere, type StaticEntries } from './static-entries.ts';
import type { Entitlements } from './workload/workloads.ts';

/** All that grants identities: the policy's documents, and what the cluster has. */
export interface WholePolicy {
  readonly entitlements: Entitlements;
  /** Waits, before it says who a process is, until the cluster was heard for the first time. */
  patient(attestor: Attestor): Attestor;
  explain(selectors: readonly Selector[]): Promise<Explanation>;
  /** Undefined where there are no pods. */
  readonly cluster: ClusterParts | undefined;
  /** What became of each manifest on this node. */
  status(): readonly ManifestStatus[];
  close(): void;
}

/** Puts what the cluster grants beside the policy of the documents. */
export function createWholePolicy(
  config: Config,
  store: PolicyStore,
  pods: NodePods | undefined,
  deps: ClusterDeps,
): WholePolicy {
  const { kubernetes } = config.attestation;
  const { attests } = policySources(config);
  const none = { identities: [], verdicts: [] };
  if (!kubernetes || !pods) {
    return {
      entitlements: {
        match: (selectors) => store.current().match(selectors),
        onChange: (listener) => store.onChange(listener),
      },
      patient: (attestor) => attestor,
      explain: (selectors) => explainAll([store.current()], none, selectors, attests),
      cluster: undefined,
      status: () => [],
      close: () => undefined,
    };
  }
  const log = deps.log.child({ component: 'cluster policy' });
  const followed = followCluster(config, kubernetes, { ...deps, log });
  const parts = createParts(config, store, pods, followed, log);
  const { policies, cluster } = parts;
  const { ids } = cluster;
  const writing = new AbortController();
  setMaxListeners(0, writing.signal);
  if (config.clusterPolicy.statusLease) {
    const lease = createLease({
      ...{ api: followed.api, clock: deps.clock, holder: kubernetes.nodeName },
      ...config.clusterPolicy.statusLease,
    });
    followed.needNamespaces();
    const writingDeps = { lease, clock: deps.clock, log, signal: writing.signal };
    writeStatuses(cluster, writingDeps).catch((err: unknown) => {
      if (!writing.signal.aborted) log.error({ err }, 'no status is written any more');
    });
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
    close() {
      writing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      parts.close();
      ids.close();
      followed.close();
    },
  };
}

/** The documents' manifests go before those of the cluster. */
function createParts(
  config: Config,
  store: PolicyStore,
  pods: NodePods,
  followed: FollowedCluster,
  log: Logger,
) {
  const changes = createListeners<undefined>((err) => log.error({ err }, 'a listener failed'));
  let entries: Policy | undefined;
  let manifests: readonly ClusterSpiffeId[] | undefined;
  const all = () =>
    (manifests ??= [...store.current().manifests.clusterIds, ...followed.clusterIds.values()]);
  const counting = whatCounts(config, store, followed, log);
  const around = {
    ...surroundingsOf(config),
    namespaceLabels: followed.namespaceLabels,
    node: followed.node,
  };
  const ids = createClusterIds({ manifests: all, pods: pods.index, around, log });

  /** What is asked of the cluster depends on what manifests ask for: no more rights than that. */
  function need(): void {
    const wanted = all();
    if (wanted.some(({ namespaceSelector }) => namespaceSelector.length > 0)) {
      followed.needNamespaces();
    }
    const usesNode = (id: ClusterSpiffeId) =>
      [...fieldsUsed(id)].some((name) => name.startsWith('NodeMeta.'));
    if (wanted.some(usesNode)) followed.needNode();
    counting.refresh();
  }

  function refresh(): void {
    manifests = entries = undefined;
    need();
    ids.refresh();
  }
  const stops = [
    // Once for each change: who listens asks for all of it.
    ids.onChange(() => changes.emit(undefined)),
    store.onChange(refresh),
    followed.onChange(refresh),
  ];
  need();
  followed.begin();
  return {
    cluster: { manifests: all, ...counting, ids, followed, around },
    policies: () => [store.current(), (entries ??= compilePolicy(counting.statics().here))],
    onChange: (listener: () => void) => changes.add(listener),
    close: () => stops.forEach((stop) => stop()),
  };
}

/** Which of the static entries and federated trust domains count on this node; says which do not. */
function whatCounts(config: Config, store: PolicyStore, followed: FollowedCluster, log: Logger) {
  const parents = { trustDomain: config.trustDomain, parentIds: config.clusterPolicy.parentIds };
  const sayOnce = createSayings(log);
  let known: StaticEntries | undefined;
  const statics = () =>
    (known ??= partEntries(followed.entries.values(), followed.node()?.uid, parents));
  const federated = () =>
    onePerTrustDomain([...store.current().manifests.federated, ...followed.federated.values()]);
  return {
    ...{ parents, statics, federated },
    /** After each change of them, or of the node. */
    refresh(): void {
      known = undefined;
      if (nameNodes(followed.entries.values(), parents)) followed.needNode();
      // One that names another node is right as it is.
      const nobodys = statics().elsewhere.filter(({ namesNode }) => !namesNode);
      sayOnce([...federated().refused, ...nobodys]);
    },
  };
}

/** Logs what of the cluster's manifests has no effect here, each as long as it is so once. */
function createSayings(log: Logger) {
  let said = new Set<string>();
  return (all: readonly { readonly source: string; readonly reason: string }[]): void => {
    const next = new Set<string>();
    for (const { source: path, reason } of all) {
      const key = `${path}\n${reason}`;
      next.add(key);
      if (said.has(key)) continue;
      log.warn({ path, reason, detail: 'it has no effect' }, 'manifest refused');
    }
    said = next;
  };
}

/** A process that is attested before anybody has told what it may have would be refused for nothing. */
function patiently(attestor: Attestor, { heard }: FollowedCluster): Attestor {
  let open = false;
  void heard.then(() => (open = true));
  return {
    name: attestor.name,
    attest: (peer, options) =>
      open
        ? attestor.attest(peer, options)
        : unlessAborted(heard, options.signal).then(() => attestor.attest(peer, options)),
  };
}
