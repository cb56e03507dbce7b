import { parseAddress, type Get } from './config-values.ts';
import type { Complain, Environment } from './read-settings.ts';

/** Where the pods of this node are told of, and where their cgroups are. */
export interface KubernetesConfig {
  readonly nodeName: string;
  readonly apiServer: { readonly host: string; readonly port: number };
  readonly caFile: string;
  readonly tokenFile: string;
  readonly ephemeralContainers: boolean;
  readonly cgroupRoots: readonly string[];
  /** Segments of the path. */
  readonly cgroupPrefix: readonly string[];
  readonly runtimeUnits: readonly string[];
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
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = env;
  const ofPod = host === '' ? '' : `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const server = get<string | null>('attestation.kubernetes.api_server') ?? ofPod;
  const apiServer = parseAddress('attestation.kubernetes.api_server', server, complain);
  if (server === '') {
    complain('attestation.kubernetes.api_server', 'expected host:port: this is no pod');
  }
  return {
    nodeName,
    apiServer: apiServer ?? { host: '', port: 0 },
    caFile: absolute(get('attestation.kubernetes.ca_file')),
    tokenFile: absolute(get('attestation.kubernetes.token_file')),
    ephemeralContainers: get('attestation.kubernetes.ephemeral_containers'),
    cgroupRoots: get('attestation.kubernetes.cgroup_roots'),
    cgroupPrefix: get('attestation.kubernetes.cgroup_prefix').split('/').filter(Boolean),
    runtimeUnits: get('attestation.kubernetes.runtime_units'),
  };
}
