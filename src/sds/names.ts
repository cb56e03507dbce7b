import {
  parseSpiffeId,
  parseTrustDomain,
  spiffeIdFault,
  trustDomainFault,
  type SpiffeId,
  type TrustDomain,
} from '../identity/spiffe-id.ts';

/** The configurable names (contract: `sds.default_*`). */
export interface AliasNames {
  readonly svid: string;
  readonly bundle: string;
  readonly allBundles: string;
}

/**
 * What a resource name stands for. One name is one kind of secret, always: Envoy copies the arm it
 * wants out of whatever it gets, and an absent arm reads as "verify nothing".
 */
export type ParsedName =
  | { readonly kind: 'svid'; readonly id: SpiffeId | undefined }
  | { readonly kind: 'bundle'; readonly trustDomain: TrustDomain | undefined }
  | { readonly kind: 'all-bundles' }
  | { readonly kind: 'elsewhere'; readonly servedBy: string }
  | { readonly kind: 'unknown' };

/** Names that Istio's proxies ask for and that others serve (envoy-level convention of Istio). */
const ELSEWHERE: readonly (readonly [prefix: string, servedBy: string])[] = [
  ['file-cert:', 'the Istio agent serves certificates from files on its own socket'],
  ['file-root:', 'the Istio agent serves root certificates from files on its own socket'],
  ['kubernetes://', 'istiod serves Kubernetes secrets over its own stream'],
  ['builtin://', 'istiod serves built-in secrets over its own stream'],
  ['sds://', 'the secret provider on the credential-uds socket serves sds:// names'],
];

/** Parses the name of a resource; `undefined` inside stands for the caller's first or own one. */
export function parseResourceName(name: string, aliases: AliasNames): ParsedName {
  if (name === aliases.svid) return { kind: 'svid', id: undefined };
  if (name === aliases.bundle) return { kind: 'bundle', trustDomain: undefined };
  if (name === aliases.allBundles) return { kind: 'all-bundles' };
  if (name.startsWith('spiffe://')) {
    const domain = name.slice('spiffe://'.length);
    if (!domain.includes('/') && trustDomainFault(domain) === undefined) {
      return { kind: 'bundle', trustDomain: parseTrustDomain(domain) };
    }
    return spiffeIdFault(name) === undefined
      ? { kind: 'svid', id: parseSpiffeId(name) }
      : { kind: 'unknown' };
  }
  const elsewhere = ELSEWHERE.find(([prefix]) => name.startsWith(prefix));
  return elsewhere ? { kind: 'elsewhere', servedBy: elsewhere[1] } : { kind: 'unknown' };
}

/** Whether one of the names is that of a trust bundle, whosever it is. */
export function asksForBundle(names: Iterable<string>, aliases: AliasNames): boolean {
  for (const name of names) {
    const { kind } = parseResourceName(name, aliases);
    if (kind === 'bundle' || kind === 'all-bundles') return true;
  }
  return false;
}
