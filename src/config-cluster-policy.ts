import { spiffeIdFault, type TrustDomain } from './identity/spiffe-id.ts';
import { namespaceFault, namespacesOf } from './config-namespaces.ts';
import type { Get } from './config-values.ts';
import type { Complain } from './read-settings.ts';

/** Which manifests of SPIRE Controller Manager count, and what their templates know. */
export interface ClusterPolicyConfig {
  /** Whether the API server is asked for them as well. */
  readonly watched: boolean;
  readonly classes: { readonly className: string; readonly classless: boolean };
  readonly clusterName: string;
  readonly clusterDomain: string;
  /** Patterns of names. */
  readonly ignoredNamespaces: readonly string[];
  /** Parents of static entries that stand for this node beside its own; `*`: all. */
  readonly parentIds: readonly string[];
  /** The lease that says which node writes the status; undefined: none does. */
  readonly statusLease: { readonly namespace: string; readonly name: string } | undefined;
}

const LEASE = /^([a-z0-9-]{1,63})\/([a-z0-9.-]{1,253})$/;

export function buildClusterPolicy(get: Get, complain: Complain): ClusterPolicyConfig {
  const watched = get<boolean>('policy.kubernetes.enabled');
  if (watched && !get<boolean>('attestation.kubernetes.enabled')) {
    const expected =
      'expected attestation.kubernetes.enabled as well: it says which process is in which pod';
    complain('policy.kubernetes.enabled', expected);
  }
  const writes = get<boolean>('policy.kubernetes.write_status');
  if (writes && !watched) {
    complain('policy.kubernetes.write_status', 'expected policy.kubernetes.enabled as well');
  }
  const lease = get('policy.kubernetes.status_lease');
  const [, namespace = '', name = ''] = LEASE.exec(lease) ?? [];
  if (name === '') {
    complain('policy.kubernetes.status_lease', `expected namespace/name, found "${lease}"`);
  }
  return {
    watched,
    classes: {
      className: get('policy.kubernetes.class_name'),
      classless: get('policy.kubernetes.watch_classless'),
    },
    clusterName: get('policy.kubernetes.cluster_name'),
    clusterDomain: get('policy.kubernetes.cluster_domain'),
    ignoredNamespaces: ignoredNamespaces(get, complain),
    parentIds: parentIds(get, complain),
    statusLease: writes ? { namespace, name } : undefined,
  };
}

function ignoredNamespaces(get: Get, complain: Complain): readonly string[] {
  const key = 'policy.kubernetes.ignore_namespaces';
  const patterns = get<readonly string[]>(key);
  for (const text of patterns) {
    const fault = namespaceFault(text);
    if (fault !== undefined) complain(key, `${fault}, found "${text}"`);
  }
  return patterns;
}

function parentIds(get: Get, complain: Complain): readonly string[] {
  const ids = get<readonly string[]>('policy.kubernetes.parent_ids');
  for (const id of ids) {
    const fault = id === '*' ? undefined : spiffeIdFault(id);
    if (fault === undefined) continue;
    complain('policy.kubernetes.parent_ids', `expected SPIFFE IDs or *, found "${id}": ${fault}`);
  }
  return ids;
}

/** What templates know of the configuration. */
export function surroundingsOf({
  trustDomain,
  clusterPolicy,
}: {
  readonly trustDomain: TrustDomain;
  readonly clusterPolicy: ClusterPolicyConfig;
}) {
  const { clusterName, clusterDomain, ignoredNamespaces } = clusterPolicy;
  return {
    ...{ trustDomain, clusterName, clusterDomain },
    ignoredNamespaces: namespacesOf(ignoredNamespaces),
  };
}
