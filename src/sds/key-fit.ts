import { createPublicKey } from 'node:crypto';
import { DerReader, TAG } from '../core/der.ts';
import { createForgetfulEcdh } from '../core/forgetful-ecdh.ts';
import type { PrivateKey } from '../identity/private-key.ts';

const EC_KEY = Buffer.from('06072a8648ce3d0201', 'hex');
const RSA_KEY = Buffer.from('06092a864886f70d010101', 'hex');
const MIN_RSA_BITS = 2048;

/**
 * What is wrong with a certificate's SubjectPublicKeyInfo and the private key that goes with it, in
 * words; undefined when they fit and Envoy takes such keys. Throws for what cannot be read.
 */
export type KeyFault = (spki: Buffer, key: PrivateKey) => string | undefined;

/** A check of keys, for the curves that Envoy takes; between its defaults Ed25519 leaves are refused. */
export function createKeyFault(): KeyFault {
  const curves = [
    { ecdhNow: createForgetfulEcdh('prime256v1'), oid: Buffer.from('06082a8648ce3d030107', 'hex') },
    { ecdhNow: createForgetfulEcdh('secp384r1'), oid: Buffer.from('06052b81040022', 'hex') },
  ];
  return (spki, key) => {
    const algorithm = new DerReader(spki).enter(TAG.sequence).enter(TAG.sequence);
    if (algorithm.skip(RSA_KEY)) return rsaFault(spki, key);
    if (!algorithm.skip(EC_KEY)) return 'its key is neither RSA nor of a curve that Envoy takes';
    const curve = curves.find(({ oid }) => algorithm.skip(oid));
    if (!curve) return 'its key is on a curve that Envoy does not take';
    const scalar = ecScalar(key);
    if (!scalar) return 'its private key is of another kind';
    const ecdh = curve.ecdhNow();
    ecdh.setPrivateKey(scalar);
    // The point is the end of SubjectPublicKeyInfo (RFC 5480 2.2), uncompressed.
    const point = ecdh.getPublicKey();
    const fits = spki.subarray(-point.length).equals(point);
    return fits ? undefined : 'its private key does not fit';
  };
}

function rsaFault(spki: Buffer, key: PrivateKey): string | undefined {
  const own = createPublicKey(key.keyObject());
  const bits = own.asymmetricKeyDetails?.modulusLength ?? 0;
  if (own.asymmetricKeyType !== 'rsa') return 'its private key is of another kind';
  if (!own.export({ type: 'spki', format: 'der' }).equals(spki)) {
    return 'its private key does not fit';
  }
  return bits < MIN_RSA_BITS
    ? `its RSA key has ${bits} bits, ${MIN_RSA_BITS} are needed`
    : undefined;
}

/** The number in an elliptic PKCS#8 key (RFC 5958 2, RFC 5915 3), not copied; undefined in any other. */
function ecScalar(key: PrivateKey): Buffer | undefined {
  const pkcs8 = key.pkcs8();
  const outer = new DerReader(Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.byteLength));
  const info = outer.enter(TAG.sequence);
  info.enter(TAG.integer);
  if (!info.enter(TAG.sequence).skip(EC_KEY)) return undefined;
  const ecKey = info.enter(TAG.octetString).enter(TAG.sequence);
  ecKey.enter(TAG.integer);
  return ecKey.content(TAG.octetString);
}
