import type { Get } from './config-values.ts';
import type { Complain } from './read-settings.ts';
import type { VaultAuth, VaultConfig } from './vault/vault-config.ts';

const SECTION = 'issuer.upstream.vault';
const AUTH = `${SECTION}.auth`;
/** Where the kubelet puts a pod's token. */
const POD_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';
/** Those without a default; `true` where they are needed. */
const OF_TYPE: Readonly<Record<VaultAuth['type'], Readonly<Record<string, boolean>>>> = {
  token: { token_file: true },
  approle: { role_id: true, secret_id_file: true, mount: false },
  kubernetes: { role: true, jwt_file: false, mount: false },
  cert: { cert_file: true, key_file: true, role: false, mount: false },
};
const AUTH_KEYS = [...new Set(Object.values(OF_TYPE).flatMap((keys) => Object.keys(keys)))];
const OTHER_KEYS = ['address', 'ca_file', 'server_name', 'issuer_ref', 'root_file', 'auth.type'];
/** Segments that mean themselves in a URL: no empty ones, and none of dots alone. */
const MOUNT = /^(?!\.+(?:\/|$))[\w.~-]+(?:\/(?!\.+(?:\/|$))[\w.~-]+)*$/;
const ISSUER_REF = /^\w(?:[\w.-]*\w)?$/;
const NAMESPACE = /^[\x21-\x7e]*$/;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** Undefined unless `issuer.upstream.type` is `vault`; complains of the rest of it then. */
export function buildVault(
  get: Get,
  absolute: (path: string) => string,
  complain: Complain,
): VaultConfig | undefined {
  const given = (key: string) => get<string | null>(`${SECTION}.${key}`) ?? undefined;
  const file = (key: string) => {
    const path = given(key);
    return path === undefined ? undefined : absolute(path);
  };
  if (get('issuer.upstream.type') !== 'vault') {
    for (const key of [...OTHER_KEYS, ...AUTH_KEYS.map((one) => `auth.${one}`)]) {
      if (given(key) === undefined) continue;
      complain(`${SECTION}.${key}`, 'expected issuer.upstream.type to be vault');
    }
    return undefined;
  }
  const address = buildAddress(given('address'), complain);
  const auth = buildAuth(given, file, complain);
  if (auth?.type === 'cert' && address.startsWith('http:')) {
    complain(`${SECTION}.address`, 'expected https, as auth.type is cert');
  }
  const namespace = matching(get(`${SECTION}.namespace`), 'namespace', NAMESPACE, complain);
  const issuerRef = given('issuer_ref');
  if (issuerRef !== undefined) matching(issuerRef, 'issuer_ref', ISSUER_REF, complain);
  return {
    ...{ address, namespace, issuerRef },
    caFile: file('ca_file'),
    serverName: given('server_name'),
    redirectHosts: get<string[]>(`${SECTION}.redirect_hosts`).map((host) => host.toLowerCase()),
    pkiMount: matching(trimmed(get(`${SECTION}.pki_mount`)), 'pki_mount', MOUNT, complain),
    rootFile: file('root_file'),
    auth: auth ?? { type: 'token', tokenFile: '' },
  };
}

function buildAddress(text: string | undefined, complain: Complain): string {
  const key = `${SECTION}.address`;
  if (text === undefined) {
    complain(key, 'expected a URL, as issuer.upstream.type is vault');
    return '';
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !['https:', 'http:'].includes(url.protocol)) {
    complain(key, `expected https://host:port, found "${text}"`);
    return '';
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    complain(key, 'expected https://host:port, without user, query or fragment');
  }
  if (url.protocol === 'http:' && !LOOPBACK.test(url.hostname)) {
    complain(key, 'expected https: everybody on the way could read the token');
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

function buildAuth(
  given: (key: string) => string | undefined,
  file: (key: string) => string | undefined,
  complain: Complain,
): VaultAuth | undefined {
  const type = given('auth.type') as VaultAuth['type'] | undefined;
  if (type === undefined) {
    const types = Object.keys(OF_TYPE).join(', ');
    complain(`${AUTH}.type`, `expected one of ${types}, as issuer.upstream.type is vault`);
    return undefined;
  }
  for (const key of AUTH_KEYS) {
    const isThere = given(`auth.${key}`) !== undefined;
    const needed = OF_TYPE[type][key];
    if (needed === true && !isThere) {
      complain(`${AUTH}.${key}`, `expected a value, as ${AUTH}.type is ${type}`);
    } else if (needed === undefined && isThere) {
      const types = Object.entries(OF_TYPE).flatMap(([one, keys]) => (key in keys ? [one] : []));
      complain(`${AUTH}.${key}`, `expected ${AUTH}.type to be ${types.join(' or ')}`);
    }
  }
  const mount = matching(trimmed(given('auth.mount') ?? type), 'auth.mount', MOUNT, complain);
  const path = (key: string) => file(`auth.${key}`) ?? '';
  const role = given('auth.role');
  switch (type) {
    case 'token':
      return { type, tokenFile: path('token_file') };
    case 'approle':
      return {
        ...{ type, mount, roleId: given('auth.role_id') ?? '' },
        secretIdFile: path('secret_id_file'),
      };
    case 'kubernetes':
      return { type, mount, role: role ?? '', jwtFile: file('auth.jwt_file') ?? POD_TOKEN };
    case 'cert':
      return { type, mount, role, certFile: path('cert_file'), keyFile: path('key_file') };
  }
}

const trimmed = (path: string) => path.replace(/^\/+|\/+$/g, '');

function matching(text: string, key: string, expected: RegExp, complain: Complain): string {
  if (!expected.test(text)) {
    complain(`${SECTION}.${key}`, `expected what stands for itself in a URL, found "${text}"`);
  }
  return text;
}
