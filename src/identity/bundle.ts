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
}
