import type { PrivateKey } from './private-key.ts';
import type { SpiffeId } from './spiffe-id.ts';

/** An X.509-SVID with its key. Immutable; times are wall clock in milliseconds. */
export interface X509Svid {
  readonly id: SpiffeId;
  /** DER, leaf first, then intermediates; never the root. */
  readonly chain: readonly Uint8Array[];
  /** The same chain as one PEM text in bytes, encoded once. */
  readonly chainPem: Uint8Array;
  readonly key: PrivateKey;
  /** Lower-case hex, as Envoy's `/certs` prints it. */
  readonly serial: string;
  /** Subject key identifier of the CA that signed it, lower-case hex. */
  readonly authorityId: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/**
 * Lifetimes that may be asked for, in a configuration as in an entry. A shorter life is over before
 * a proxy has the certificate; a longer one is not short-lived, and is revoked only by who notices.
 */
export const SVID_TTL_MS = { min: 5000, max: 30 * 86_400_000 } as const;
