import { parseAddress, type Get } from './config-values.ts';
import { formatDuration } from './core/duration.ts';
import type { Complain, Environment } from './read-settings.ts';
import type { ObjectName } from './signer/object-name.ts';

/** How requests for CAs of nodes are answered; durations in milliseconds. */
export interface SignerConfig {
  readonly name: string;
  readonly serviceAccount: ObjectName;
  readonly minTtlMs: number;
  readonly maxTtlMs: number;
  readonly secret: ObjectName;
  readonly keys: 'secret' | 'key_manager';
  readonly keyRecord: ObjectName;
  readonly rootsConfigMap: ObjectName;
  /** Undefined: none. */
  readonly trustBundle: string | undefined;
  readonly extraRootsFile: string | undefined;
  readonly newRootDelayMs: number;
  readonly revocationDelayMs: number;
  readonly verifyPods: boolean;
  /** Undefined: this is no pod, and nothing else was said. */
  readonly apiServer: { readonly host: string; readonly port: number } | undefined;
  readonly caFile: string;
  readonly tokenFile: string;
}

const OBJECT = /^([a-z0-9-]{1,63})\/([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)$/;
/** A domain, a slash and a path (as the API has it for signerName). */
const SIGNER_NAME =
  /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\.[a-z]+\/[A-Za-z0-9][-A-Za-z0-9._]{0,252}$/;

export function buildSigner(
  get: Get,
  absolute: (path: string) => string,
  env: Environment,
  complain: Complain,
): SignerConfig {
  const objectName = (key: string): ObjectName => {
    const value = get(key);
    const [, namespace = '', name = ''] = OBJECT.exec(value) ?? [];
    if (name === '') complain(key, `expected namespace/name, found "${value}"`);
    return { namespace, name };
  };
  const name = get('signer.name');
  if (!SIGNER_NAME.test(name)) {
    complain('signer.name', `expected a domain, a slash and a name, found "${name}"`);
  }
  const minTtlMs = get<number>('signer.min_ca_ttl');
  const maxTtlMs = get<number>('signer.ca_ttl');
  if (minTtlMs > maxTtlMs) {
    complain('signer.min_ca_ttl', `expected at most signer.ca_ttl, ${formatDuration(maxTtlMs)}`);
  }
  const newRootDelayMs = get<number>('signer.new_root_delay');
  const extra = get<string | null>('signer.roots.extra_roots_file');
  return {
    ...{ name, minTtlMs, maxTtlMs, newRootDelayMs },
    serviceAccount: objectName('signer.service_account'),
    secret: objectName('signer.secret'),
    keys: get<SignerConfig['keys']>('signer.keys'),
    keyRecord: objectName('signer.key_record'),
    rootsConfigMap: objectName('signer.roots.config_map'),
    trustBundle: trustBundle(get, name, complain),
    extraRootsFile: extra === null ? undefined : absolute(extra),
    revocationDelayMs: get<number | null>('signer.revocation_delay') ?? newRootDelayMs,
    verifyPods: get<boolean>('signer.verify_pods'),
    apiServer: apiServer(get, env, complain),
    caFile: absolute(get('signer.ca_file')),
    tokenFile: absolute(get('signer.token_file')),
  };
}

/** The API takes a bundle of a signer under names alone that begin with the signer's. */
function trustBundle(get: Get, signerName: string, complain: Complain): string | undefined {
  const key = 'signer.roots.cluster_trust_bundle';
  const name = get(key);
  if (name === '') return undefined;
  const prefix = `${signerName.replace('/', ':')}:`;
  if (
    !name.startsWith(prefix) ||
    !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name.slice(prefix.length))
  ) {
    complain(key, `expected ${prefix} and a name, found "${name}"`);
  }
  return name;
}

function apiServer(get: Get, env: Environment, complain: Complain) {
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = env;
  const ofPod = host === '' ? '' : `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const server = get<string | null>('signer.api_server') ?? ofPod;
  return parseAddress('signer.api_server', server, complain);
}
