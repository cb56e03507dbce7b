/** What an SVID's key or a CA's key may be; spelled as in the configuration. */
export type KeyType = 'ec-p256' | 'ec-p384' | 'rsa-2048' | 'rsa-3072' | 'rsa-4096';

interface Signing {
  /** Digest of signatures made *with* such a key. */
  readonly digest: 'sha256' | 'sha384';
  /** DER of the AlgorithmIdentifier of those signatures. */
  readonly signatureAlgorithm: Buffer;
  /** The same for the X.509 library. */
  readonly webAlgorithm: {
    readonly name: string;
    readonly hash: string;
    readonly namedCurve?: string;
  };
}

export interface EcKeyType extends Signing {
  readonly kind: 'ec';
  /** OpenSSL's name of the curve. */
  readonly curve: 'prime256v1' | 'secp384r1';
  readonly scalarBytes: number;
  /** DER of a SubjectPublicKeyInfo up to the point. */
  readonly spkiPrefix: Buffer;
  /** DER of a PKCS#8 PrivateKeyInfo up to the scalar, and from there to the point. */
  readonly pkcs8Prefix: Buffer;
  readonly pkcs8Infix: Buffer;
}

export interface RsaKeyType extends Signing {
  readonly kind: 'rsa';
  readonly modulusBits: number;
}

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

// RFC 5758 3.2: ECDSA algorithm identifiers have no parameters.
const ECDSA_SHA256 = hex('300a 0608 2a8648ce3d040302');
const ECDSA_SHA384 = hex('300a 0608 2a8648ce3d040303');
// RFC 4055 5: for RSA the parameters are NULL.
const RSA_SHA256 = hex('300d 0609 2a864886f70d01010b 0500');

const rsa = (modulusBits: number): RsaKeyType => ({
  kind: 'rsa',
  modulusBits,
  digest: 'sha256',
  signatureAlgorithm: RSA_SHA256,
  webAlgorithm: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
});

/** Every type as one row; code is handed the row and does not branch on names. */
export const KEY_TYPES: Readonly<Record<KeyType, EcKeyType | RsaKeyType>> = {
  'ec-p256': {
    kind: 'ec',
    curve: 'prime256v1',
    scalarBytes: 32,
    digest: 'sha256',
    signatureAlgorithm: ECDSA_SHA256,
    webAlgorithm: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
    spkiPrefix: hex('3059 3013 0607 2a8648ce3d0201 0608 2a8648ce3d030107 0342 00'),
    // RFC 5958 around RFC 5915, the public key included: what OpenSSL writes too.
    pkcs8Prefix: hex(
      '308187 020100 3013 0607 2a8648ce3d0201 0608 2a8648ce3d030107 046d 306b 020101 0420',
    ),
    pkcs8Infix: hex('a144 0342 00'),
  },
  'ec-p384': {
    kind: 'ec',
    curve: 'secp384r1',
    scalarBytes: 48,
    digest: 'sha384',
    signatureAlgorithm: ECDSA_SHA384,
    webAlgorithm: { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
    spkiPrefix: hex('3076 3010 0607 2a8648ce3d0201 0605 2b81040022 0362 00'),
    pkcs8Prefix: hex(
      '3081b6 020100 3010 0607 2a8648ce3d0201 0605 2b81040022 04819e 30819b 020101 0430',
    ),
    pkcs8Infix: hex('a164 0362 00'),
  },
  'rsa-2048': rsa(2048),
  'rsa-3072': rsa(3072),
  'rsa-4096': rsa(4096),
};

/** Whether the text names a key type. */
export function isKeyType(text: unknown): text is KeyType {
  return typeof text === 'string' && Object.hasOwn(KEY_TYPES, text);
}
