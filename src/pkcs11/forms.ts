import { createPublicKey } from 'node:crypto';
import { der, TAG } from '../core/der.ts';
import { IdentityError } from '../core/errors.ts';
import { KEY_TYPES, type KeyType } from '../issuer/key-type.ts';

/** RFC 8017 9.2, note 1: what stands before a SHA-256 digest in a DigestInfo. */
const SHA256_INFO = Buffer.from('3031300d060960864801650304020105000420', 'hex');
/** X9.62: an uncompressed point. */
const UNCOMPRESSED = 0x04;

/** What a token is to sign: it pads, and does not hash. */
export function toBeSigned(type: KeyType, digest: Buffer): Buffer {
  return KEY_TYPES[type].kind === 'ec' ? digest : Buffer.concat([SHA256_INFO, digest]);
}

/** PKCS#11 2.40 mechanisms 2.3.1: r and s, each as long as the order, to the DER of RFC 3279 2.2.3. */
export function ecdsaDer(type: KeyType, raw: Buffer): Buffer {
  const row = KEY_TYPES[type];
  if (row.kind !== 'ec' || raw.length !== 2 * row.scalarBytes) {
    throw new IdentityError('ERR_KEY_STORE', `a signature of ${raw.length} bytes for ${type}`);
  }
  const half = row.scalarBytes;
  return der(TAG.sequence, integer(raw.subarray(0, half)), integer(raw.subarray(half)));
}

/** The shortest form of a number that is not negative. */
function integer(bytes: Buffer): Buffer {
  let at = 0;
  while (at < bytes.length - 1 && bytes[at] === 0) at++;
  const short = bytes.subarray(at);
  return der(TAG.integer, ...((short[0] ?? 0) >= 0x80 ? [Buffer.of(0), short] : [short]));
}

/**
 * SubjectPublicKeyInfo of an EC point as the token gives it: in an OCTET STRING, as the standard says, or
 * bare, as some do. Throws for what is no point of the curve.
 */
export function ecSpki(type: KeyType, value: Buffer): Buffer {
  const row = KEY_TYPES[type];
  if (row.kind !== 'ec') throw new IdentityError('ERR_BUG', `${type} has no point`);
  const bytes = 1 + 2 * row.scalarBytes;
  const point = value.length === bytes ? value : value.subarray(2);
  const wrapped = value.length === bytes + 2 && value[0] === TAG.octetString && value[1] === bytes;
  if (point.length !== bytes || point[0] !== UNCOMPRESSED || (point === value) === wrapped) {
    throw new IdentityError('ERR_KEY_STORE', `the token's key has no point of ${type}`);
  }
  return checked(Buffer.concat([row.spkiPrefix, point]));
}

/** SubjectPublicKeyInfo of an RSA key; throws when it has not as many bits as its type says. */
export function rsaSpki(type: KeyType, modulus: Buffer, exponent: Buffer): Buffer {
  const row = KEY_TYPES[type];
  const [n, e] = [modulus.toString('base64url'), exponent.toString('base64url')];
  const key = createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' });
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (row.kind !== 'rsa' || bits !== row.modulusBits) {
    throw new IdentityError('ERR_KEY_STORE', `the token's key has ${bits ?? 0} bits, not ${type}`);
  }
  return key.export({ type: 'spki', format: 'der' });
}

function checked(spki: Buffer): Buffer {
  createPublicKey({ key: spki, format: 'der', type: 'spki' });
  return spki;
}
