import type { SpiffeId, TrustDomain } from './spiffe-id.ts';

/** One identity that a caller may hold, as a registration entry grants it. */
export interface Entitlement {
  readonly id: SpiffeId;
  /** Undefined: the issuer's default. */
  readonly x509SvidTtlMs: number | undefined;
  readonly jwtSvidTtlMs: number | undefined;
  readonly dnsNames: readonly string[];
  readonly federatesWith: readonly TrustDomain[];
  readonly hint: string;
  readonly priority: number;
  /** `file:line` of the entry, for logs and `explain`. */
  readonly source: string;
}
