import { parseAddress, type Get } from './config-values.ts';
import type { Complain, Environment } from './read-settings.ts';

/** Where the pods of this node are told of, and where their cgroups are. */
export interface KubernetesConfig {
  readonly nodeName: string;
  readonly apiServer: Address;
  /** Undefined: the API server tells of the pods. */
  readonly kubelet: KubeletConfig | undefined;
  readonly caFile: string;
  readonly tokenFile: string;
  readonly ephemeralContainers: boolean;
  /** Whether processes of one pod are told apart by their containers. */
  readonly containerSelectors: boolean;
  /** Whether the labels of a pod's namespace are selectors. */
  readonly namespaceLabels: boolean;
  readonly cgroupRoots: readonly string[];
  /** Segments of the path. */
  readonly cgroupPrefix: readonly string[];
  readonly runtimeUnits: readonly string[];
}

interface Address {
  readonly host: string;
  readonly port: number;
}

/** How the kubelet of this node is asked for its pods. */
export interface KubeletConfig {
  readonly address: Address;
  /** The last two are open to whoever can take the kubelet's port. */
  readonly access: 'verified' | 'insecure_skip_verify' | 'insecure_read_only_port';
  readonly caFile: string;
  readonly pollIntervalMs: number;
}

/** Undefined unless it is enabled. */
export function buildKubernetes(
  get: Get,
  absolute: (path: string) => string,
  env: Environment,
  complain: Complain,
): KubernetesConfig | undefined {
  if (!get<boolean>('attestation.kubernetes.enabled')) return undefined;
  const nodeName = get<string | null>('attestation.kubernetes.node_name') ?? '';
  if (nodeName === '') {
    // Without it the pods of the whole cluster would be asked for.
    const expected = 'expected the name of this node (spec.nodeName, from the downward API)';
    complain('attestation.kubernetes.node_name', expected);
  }
  const kubelet = buildKubelet(get, absolute, complain);
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = env;
  const ofPod = host === '' ? '' : `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const server = get<string | null>('attestation.kubernetes.api_server') ?? ofPod;
  const apiServer = parseAddress('attestation.kubernetes.api_server', server, complain);
  const namespaceLabels = get<boolean>('attestation.kubernetes.namespace_labels');
  // Manifests and namespaces are the API server's, whoever tells of the pods.
  const needed = !kubelet || namespaceLabels || get<boolean>('policy.kubernetes.enabled');
  if (server === '' && needed) {
    complain('attestation.kubernetes.api_server', 'expected host:port: this is no pod');
  }
  return {
    nodeName,
    apiServer: apiServer ?? NOWHERE,
    kubelet,
    caFile: absolute(get('attestation.kubernetes.ca_file')),
    tokenFile: absolute(get('attestation.kubernetes.token_file')),
    ephemeralContainers: get('attestation.kubernetes.ephemeral_containers'),
    containerSelectors: get('attestation.kubernetes.container_selectors'),
    namespaceLabels,
    cgroupRoots: get('attestation.kubernetes.cgroup_roots'),
    cgroupPrefix: get('attestation.kubernetes.cgroup_prefix').split('/').filter(Boolean),
    runtimeUnits: get('attestation.kubernetes.runtime_units'),
  };
}

const NOWHERE = { host: '', port: 0 };

function buildKubelet(
  get: Get,
  absolute: (path: string) => string,
  complain: Complain,
): KubeletConfig | undefined {
  if (get('attestation.kubernetes.source') !== 'kubelet') return undefined;
  const access = get<KubeletConfig['access']>('attestation.kubernetes.kubelet_access');
  const port = access === 'insecure_read_only_port' ? 10_255 : 10_250;
  const address = get<string | null>('attestation.kubernetes.kubelet_address');
  const key = 'attestation.kubernetes.kubelet_address';
  const ca = get<string | null>('attestation.kubernetes.kubelet_ca_file');
  return {
    address: parseAddress(key, address ?? `127.0.0.1:${port}`, complain) ?? NOWHERE,
    access,
    caFile: absolute(ca ?? get('attestation.kubernetes.ca_file')),
    pollIntervalMs: get('attestation.kubernetes.kubelet_poll_interval'),
  };
}
