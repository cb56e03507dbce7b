import type { KeyObject } from 'node:crypto';

/** Curves that TLS 1.3 names, as OpenSSL calls them. */
const CURVES = ['prime256v1', 'secp384r1', 'secp521r1'];

/** What a key that `isTakenKey` refuses should have been. */
export const TAKEN_KEYS = 'an RSA key of 2048 bits or more, or one on P-256, P-384 or P-521';

/** Whether Envoy verifies with such a key: RSA of 2048 bits and more, and the curves that TLS 1.3 names. */
export function isTakenKey({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  const { modulusLength = 0, namedCurve = '' } = asymmetricKeyDetails ?? {};
  return asymmetricKeyType === 'rsa' ? modulusLength >= 2048 : CURVES.includes(namedCurve);
}
