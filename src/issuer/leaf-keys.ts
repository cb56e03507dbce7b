import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import { createForgetfulEcdh } from '../core/forgetful-ecdh.ts';
import { KEY_TYPES, type EcKeyType, type KeyType, type RsaKeyType } from './key-type.ts';
import { createLimiter } from './limiter.ts';

/** A fresh key pair for one SVID, as DER. */
export interface LeafKey {
  readonly spki: Buffer;
  readonly pkcs8: Buffer;
}

/** Makes a key pair; EC keys at once, RSA keys later, off the event loop. */
export type LeafKeySource = (options: { signal?: AbortSignal }) => LeafKey | Promise<LeafKey>;

/** An RSA key takes 50 ms to seconds of a thread: leave threads of the pool for everything else. */
const MAX_RSA_AT_ONCE = 2;

/** The source of SVID keys of one type. */
export function createLeafKeySource(type: KeyType): LeafKeySource {
  const row = KEY_TYPES[type];
  return row.kind === 'ec' ? ecSource(row) : rsaSource(row);
}

/**
 * ECDH's key generation is OpenSSL's for the curve, whatever the key is used for afterwards, and
 * gives the raw scalar. Measured per key with its PKCS#8: 14 µs on Node 20 and 32 on 24, against
 * 71 and 42 for `generateKeyPairSync` with the cheapest export; a worker would cost more in hops.
 */
function ecSource(row: EcKeyType): LeafKeySource {
  const { spkiPrefix, pkcs8Prefix, pkcs8Infix, scalarBytes } = row;
  const ecdhNow = createForgetfulEcdh(row.curve);
  return () => {
    const ecdh = ecdhNow();
    const point = ecdh.generateKeys();
    const scalar = ecdh.getPrivateKey();
    // OpenSSL leaves leading zeros out, once in 256 keys; RFC 5915 3 wants the full width.
    const gap = scalarBytes - scalar.length;
    const scalarAt = pkcs8Prefix.length;
    const infixAt = scalarAt + scalarBytes;
    // Outside the shared pool, so that no other buffer has a key for its neighbour.
    const pkcs8 = Buffer.allocUnsafeSlow(infixAt + pkcs8Infix.length + point.length);
    pkcs8Prefix.copy(pkcs8);
    pkcs8.fill(0, scalarAt, scalarAt + gap);
    scalar.copy(pkcs8, scalarAt + gap);
    pkcs8Infix.copy(pkcs8, infixAt);
    point.copy(pkcs8, infixAt + pkcs8Infix.length);
    scalar.fill(0);
    return { spki: Buffer.concat([spkiPrefix, point]), pkcs8 };
  };
}

const generateKeyPairAsync = promisify(generateKeyPair);

function rsaSource(row: RsaKeyType): LeafKeySource {
  const limiter = createLimiter(MAX_RSA_AT_ONCE);
  return async (options) => {
    const { publicKey, privateKey } = await limiter.run(
      () =>
        generateKeyPairAsync('rsa', {
          modulusLength: row.modulusBits,
          publicKeyEncoding: { type: 'spki', format: 'der' },
          privateKeyEncoding: { type: 'pkcs8', format: 'der' },
        }),
      options,
    );
    return { spki: publicKey, pkcs8: privateKey };
  };
}
