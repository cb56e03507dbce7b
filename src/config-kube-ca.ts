import { parseAddress, type Get } from './config-values.ts';
import type { RootsPlace } from './kube-ca/roots.ts';
import type { Complain, Environment } from './read-settings.ts';

interface Common {
  readonly apiServer: { readonly host: string; readonly port: number };
  readonly caFile: string;
  readonly tokenFile: string;
  readonly timeoutMs: number;
}

/** Issuing CAs are asked for through a cluster; durations in milliseconds. */
export type KubeCaConfig =
  | (Common & {
      readonly type: 'kubernetes_csr';
      readonly signerName: string;
      readonly roots: RootsPlace;
    })
  | (Common & {
      readonly type: 'cert_manager';
      readonly namespace: string;
      readonly issuer: { readonly name: string; readonly kind: string; readonly group: string };
      /** Undefined: they come with the certificates. */
      readonly roots: RootsPlace | undefined;
    });

type Type = KubeCaConfig['type'];

const TYPES: readonly Type[] = ['kubernetes_csr', 'cert_manager'];
/** Those without a default. */
const OPTIONAL: Readonly<Record<Type, readonly string[]>> = {
  kubernetes_csr: ['api_server'],
  cert_manager: ['api_server', 'issuer_name'],
};
const ROOTS = ['config_map', 'cluster_trust_bundle', 'file'] as const;
/** RFC 1123: what may stand in a path as it is. */
const SUBDOMAIN = '[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?';
const NAME = new RegExp(`^${SUBDOMAIN}$`);
const NAMESPACE = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
/** With the signer's name in front, as the API wants it of those that belong to one. */
const TRUST_BUNDLE = new RegExp(`^${SUBDOMAIN}(?::[a-z0-9](?:[-a-z0-9.:]{0,251}[a-z0-9])?)?$`);
const SIGNER = new RegExp(`^${SUBDOMAIN}/[a-z0-9](?:[-a-z0-9._]{0,251}[a-z0-9])?$`);
const KIND = /^[A-Z][A-Za-z0-9]{0,62}$/;
/** The API server signs nothing for less. */
const MIN_CA_TTL_MS = 600_000;

/** Undefined unless `issuer.upstream.type` is one of them; complains of settings without their type. */
export function buildKubeCa(
  get: Get,
  absolute: (path: string) => string,
  env: Environment,
  complain: Complain,
): KubeCaConfig | undefined {
  const chosen = TYPES.find((type) => type === get('issuer.upstream.type'));
  for (const type of TYPES) if (type !== chosen) complainOfStrays(type, get, complain);
  if (chosen === undefined) return undefined;
  const section = `issuer.upstream.${chosen}`;
  const common = {
    apiServer: buildApiServer(section, get, env, complain),
    caFile: absolute(get(`${section}.ca_file`)),
    tokenFile: absolute(get(`${section}.token_file`)),
    timeoutMs: get<number>(`${section}.timeout`),
  };
  const roots = buildRoots(section, get, absolute, complain);
  const text = (name: string, form: RegExp, expected: string) => {
    const value = get<string | null>(`${section}.${name}`) ?? '';
    if (!form.test(value)) complain(`${section}.${name}`, `expected ${expected}, found "${value}"`);
    return value;
  };
  if (chosen === 'kubernetes_csr') {
    const signerName = text('signer_name', SIGNER, 'domain/name');
    if (/^(?:[^/]*\.)?kubernetes\.io\//.test(signerName)) {
      complain(
        `${section}.signer_name`,
        'expected a signer of CAs: those of kubernetes.io are none',
      );
    }
    if (roots === undefined) complain(`${section}.roots`, ONE_OF);
    if (get<number>('issuer.ca_ttl') < MIN_CA_TTL_MS) {
      complain('issuer.ca_ttl', 'expected at least 10m: the API server takes no request for less');
    }
    return { type: chosen, ...common, signerName, roots: roots ?? { kind: 'file', path: '' } };
  }
  return {
    ...{ type: chosen, ...common, roots },
    namespace: text('namespace', NAMESPACE, 'a namespace'),
    issuer: {
      name: text('issuer_name', NAME, 'the name of an issuer'),
      kind: text('issuer_kind', KIND, 'Issuer or ClusterIssuer'),
      group: text('issuer_group', NAME, 'an API group'),
    },
  };
}

const ONE_OF = 'expected one of config_map, cluster_trust_bundle and file: where the roots are';

function complainOfStrays(type: Type, get: Get, complain: Complain): void {
  for (const name of [...OPTIONAL[type], ...ROOTS.map((one) => `roots.${one}`)]) {
    const key = `issuer.upstream.${type}.${name}`;
    if (get<string | null>(key) != null) {
      complain(key, `expected issuer.upstream.type to be ${type}`);
    }
  }
}

function buildApiServer(section: string, get: Get, env: Environment, complain: Complain) {
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = env;
  const ofPod = host === '' ? '' : `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const key = `${section}.api_server`;
  const server = get<string | null>(key) ?? ofPod;
  if (server === '') complain(key, 'expected host:port: this is no pod');
  return parseAddress(key, server, complain) ?? { host: '', port: 0 };
}

function buildRoots(
  section: string,
  get: Get,
  absolute: (path: string) => string,
  complain: Complain,
): RootsPlace | undefined {
  const given = ROOTS.filter((name) => get<string | null>(`${section}.roots.${name}`) != null);
  const [kind] = given;
  if (given.length > 1) complain(`${section}.roots`, `${ONE_OF}, found ${given.join(' and ')}`);
  if (kind === undefined) return undefined;
  const key = `${section}.roots.${kind}`;
  const value = get(key);
  if (kind === 'file') return { kind, path: absolute(value) };
  if (kind === 'cluster_trust_bundle') {
    if (!TRUST_BUNDLE.test(value)) complain(key, `expected its name, found "${value}"`);
    return { kind, name: value };
  }
  const [namespace = '', name = '', ...more] = value.split('/');
  if (more.length > 0 || !NAMESPACE.test(namespace) || !NAME.test(name)) {
    complain(key, `expected namespace/name, found "${value}"`);
  }
  return { kind, namespace, name };
}
