import { createPublicKey, generateKeyPair, sign, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { KEY_TYPES, type KeyType } from './key-type.ts';
import { subjectKeyId } from './subject-key-id.ts';

/** A CA's key, wherever it lives: it signs and never shows itself. */
export interface SigningKey {
  /** Its name in the key manager. */
  readonly id: string;
  readonly type: KeyType;
  /** DER of the SubjectPublicKeyInfo. */
  readonly spki: Buffer;
  /** Signs with the digest of the key's type; ECDSA signatures as DER. A token answers later. */
  sign(data: Uint8Array): Buffer | Promise<Buffer>;
}

/** Where CA keys are made and kept. All that a token or a cloud service has to offer. */
export interface KeyManager {
  /** Resolves when the key is kept so that `load` finds it, also after a crash. */
  generate(type: KeyType): Promise<SigningKey>;
  /** `ERR_KEY_STORE` when it is missing, unreadable or of another type. */
  load(id: string, type: KeyType): SigningKey | Promise<SigningKey>;
  ids(): readonly string[] | Promise<readonly string[]>;
  remove(id: string): void | Promise<void>;
}

const generateKeyPairAsync = promisify(generateKeyPair);

/** A new private key, made off the event loop. */
export async function generatePrivateKey(type: KeyType): Promise<KeyObject> {
  const row = KEY_TYPES[type];
  const pair =
    row.kind === 'ec'
      ? await generateKeyPairAsync('ec', { namedCurve: row.curve })
      : await generateKeyPairAsync('rsa', { modulusLength: row.modulusBits });
  return pair.privateKey;
}

/** A signing key held by this process; named after its public key, so a name is never reused. */
export function localSigningKey(privateKey: KeyObject, type: KeyType): SigningKey {
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  const { digest, kind } = KEY_TYPES[type];
  return {
    id: subjectKeyId(spki).toString('hex'),
    type,
    spki,
    // An EC signature costs 25 µs, less than a hop to another thread; an RSA one up to 5 ms.
    sign: kind === 'ec' ? (data) => sign(digest, data, privateKey) : signLater,
  };

  function signLater(data: Uint8Array): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      sign(digest, data, privateKey, (error, signature) => {
        if (error) reject(error);
        else resolve(signature);
      });
    });
  }
}

/** The type of a private key, or undefined when it is none that Credence signs with. */
export function keyTypeOf(privateKey: KeyObject): KeyType | undefined {
  const { asymmetricKeyType: kind, asymmetricKeyDetails: details } = privateKey;
  for (const type of Object.keys(KEY_TYPES) as KeyType[]) {
    const row = KEY_TYPES[type];
    if (row.kind !== kind) continue;
    if (row.kind === 'ec' && details?.namedCurve === row.curve) return type;
    if (row.kind === 'rsa' && details?.modulusLength === row.modulusBits) return type;
  }
  return undefined;
}
