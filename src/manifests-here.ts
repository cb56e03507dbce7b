import type { Config } from './config.ts';
import type { Logger } from './core/log.ts';
import type { FollowedCluster } from './followed-cluster.ts';
import {
  onePerTrustDomain,
  type FederatedTrustDomains,
} from './manifests/federated-trust-domain.ts';
import type { PolicyStore } from './policy/store.ts';
import { nameNodes, partEntries, type Parents, type StaticEntries } from './static-entries.ts';

/** Which static entries and federated trust domains of the cluster count on this node. */
export interface ManifestsHere {
  readonly parents: Parents;
  /** The same for as long as entries and node are the same. */
  readonly statics: () => StaticEntries;
  readonly federated: () => FederatedTrustDomains;
  /**
   * After a change of them, or of the node: follows the node where an entry names one, and says what has
   * no effect. Whether other entries count now: a change counts once it is known for which node it is.
   */
  look(): boolean;
}

export function createManifestsHere(
  { trustDomain, clusterPolicy: { parentIds } }: Config,
  store: PolicyStore,
  followed: FollowedCluster,
  log: Logger,
): ManifestsHere {
  const parents = { trustDomain, parentIds };
  const part = derived(partEntries);
  const sayOnce = createSayings(log);
  let entries = followed.entries.values();
  const statics = () => part(entries, followed.node()?.uid, parents);
  const federated = () =>
    onePerTrustDomain([...store.current().manifests.federated, ...followed.federated.values()]);
  let before = statics();
  return {
    ...{ parents, statics, federated },
    look() {
      const wanted = followed.entries.values();
      const namesNode = nameNodes(wanted, parents);
      if (namesNode) followed.need('node');
      // The first that names a node takes nothing away before that is known, or too late to wait for.
      if (!namesNode || entries.length === 0 || !followed.awaits('node')) entries = wanted;
      // One that names another node is right as it is.
      const now = statics();
      const nobodys = now.elsewhere.filter(({ namesNode }) => !namesNode);
      sayOnce([...federated().refused, ...nobodys]);
      const others = now !== before;
      before = now;
      return others;
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

/** The same result for as long as it is asked for the same. */
export function derived<A extends readonly unknown[], T>(
  make: (...from: A) => T,
): (...from: A) => T {
  let last: { readonly from: A; readonly made: T } | undefined;
  return (...from) => {
    if (!last || from.some((part, n) => part !== last?.from[n]))
      last = { from, made: make(...from) };
    return last.made;
  };
}
