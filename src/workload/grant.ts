import type { Entitlement } from '../identity/entitlement.ts';
import type { SpiffeId, TrustDomain } from '../identity/spiffe-id.ts';

/** What a caller may have now; a value, compared by `key`. */
export interface Grant {
  /** In the order of the policy; the first one is the default identity. */
  readonly identities: readonly Entitlement[];
  /** The same, to be looked up. */
  readonly byId: ReadonlyMap<SpiffeId, Entitlement>;
  /** Own trust domain first, then the federated ones of all identities, sorted. */
  readonly trustDomains: readonly TrustDomain[];
  /** Equal for grants with equal content. */
  readonly key: string;
}

/** The grant that a list of entitlements amounts to. */
export function grantOf(own: TrustDomain, identities: readonly Entitlement[]): Grant {
  const federated = new Set(identities.flatMap((identity) => identity.federatesWith));
  federated.delete(own);
  const trustDomains = [own, ...[...federated].sort()];
  const key = JSON.stringify([
    trustDomains,
    identities.map((i) => [i.id, i.x509SvidTtlMs, i.jwtSvidTtlMs, i.dnsNames, i.hint]),
  ]);
  const byId = new Map(identities.map((identity) => [identity.id, identity]));
  return { identities, byId, trustDomains, key };
}
