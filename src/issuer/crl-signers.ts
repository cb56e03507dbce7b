import type { TrustBundle } from '../identity/bundle.ts';
import type { CaCertificate } from './ca-certificate.ts';
import type { SigningKey } from './keys.ts';

/** A CA whose key is here and below which certificates may live. */
export interface CrlSigner {
  readonly certificate: CaCertificate;
  readonly key: SigningKey;
}

/** An issuing CA that its root has revoked. */
export interface RevokedAuthority {
  /** Subject key identifier of the root, lower-case hex. */
  readonly issuerKeyId: string;
  /** Lower-case hex. */
  readonly serial: string;
  readonly notAfterMs: number;
}

/** Who has to sign CRLs once anything is revoked. */
export interface CrlSource {
  /** Every root and every living issuing CA whose key is here. */
  crlSigners(): readonly CrlSigner[];
  revokedAuthorities(): readonly RevokedAuthority[];
  /** Called whenever one of them answers something else; returns how to stop. */
  onSignersChange(listener: () => void): () => void;
}

/**
 * Whether there can be CRLs at all: a validator that has any wants one of every CA on the way up, so
 * the key of each root that is trusted has to be here.
 */
export function canSignCrls(signers: readonly CrlSigner[], bundle: TrustBundle): boolean {
  return bundle.x509Authorities.every(({ der }) =>
    signers.some(({ certificate }) => certificate.der.equals(der)),
  );
}
