import { buildKubeCa, type KubeCaConfig } from './config-kube-ca.ts';
import type { Get } from './config-values.ts';
import { buildVault } from './config-vault.ts';
import type { Complain, Environment } from './read-settings.ts';
import type { VaultConfig } from './vault/vault-config.ts';

/** Files that the signing CA comes from; durations in milliseconds. */
export interface UpstreamConfig {
  readonly certFile: string;
  readonly keyFile: string;
  readonly bundleFile: string;
  readonly newRootDelayMs: number;
}

/** Who signs issuing CAs for keys that are made here. */
export type RemoteConfig = { readonly type: 'vault'; readonly vault: VaultConfig } | KubeCaConfig;

/** Undefined when nobody else signs them; complains of settings without their type. */
export function buildRemote(
  get: Get,
  absolute: (path: string) => string,
  env: Environment,
  complain: Complain,
): RemoteConfig | undefined {
  // Each complains of its own settings where it is not the one.
  const vault = buildVault(get, absolute, complain);
  const kube = buildKubeCa(get, absolute, env, complain);
  return vault ? { type: 'vault', vault } : kube;
}

const FILES = ['cert_file', 'key_file', 'bundle_file'] as const;

/** Undefined when the root is our own; complains of files without their type and the other way. */
export function buildUpstream(
  get: Get,
  absolute: (path: string) => string,
  complain: Complain,
): UpstreamConfig | undefined {
  const isDisk = get('issuer.upstream.type') === 'disk';
  const paths = FILES.map((name) => get<string | null>(`issuer.upstream.${name}`));
  for (const [n, name] of FILES.entries()) {
    const given = paths[n] != null;
    if (isDisk && !given) {
      complain(`issuer.upstream.${name}`, 'expected a path, as issuer.upstream.type is disk');
    } else if (!isDisk && given) {
      complain(`issuer.upstream.${name}`, 'expected issuer.upstream.type to be disk');
    }
  }
  if (!isDisk) return undefined;
  const [certFile = '', keyFile = '', bundleFile = ''] = paths.map((path) => absolute(path ?? ''));
  const newRootDelayMs = get<number>('issuer.upstream.new_root_delay');
  return { certFile, keyFile, bundleFile, newRootDelayMs };
}
