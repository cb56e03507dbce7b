import type { TrustDomain } from './spiffe-id.ts';

/** One X.509 authority of a trust domain: a self-signed root. */
export interface X509Authority {
  readonly der: Uint8Array;
  readonly notAfterMs: number;
}

/** The roots of one trust domain as of `sequence`; immutable, replaced whole. */
export interface TrustBundle {
  readonly trustDomain: TrustDomain;
  /** Grows with every change of content, never falls (BU-05). */
  readonly sequence: number;
  readonly x509Authorities: readonly X509Authority[];
  /**
   * DER of CRLs (RFC 5280 5). Where there are any, validators want one of every CA on the way up from
   * a leaf; absent or empty: nothing is revoked.
   */
  readonly crls?: readonly Uint8Array[];
}
