import { verify, type KeyLike } from 'node:crypto';
import { DerReader, TAG } from '../core/der.ts';
import { readTime } from '../core/der-time.ts';
import { IdentityError } from '../core/errors.ts';

/** What a CRL says (RFC 5280 5), as far as somebody has to judge it; nothing is verified. */
export interface CrlFacts {
  /** DER of the Name of the CA that signed it: equal bytes are equal names. */
  readonly issuer: Buffer;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  readonly authorityKeyId: Buffer | undefined;
  /** RFC 5280 5.2.3, big-endian. */
  readonly number: Buffer | undefined;
  readonly revoked: readonly RevokedFacts[];
  /** What was signed, and the signature over it. */
  readonly signed: Buffer;
  readonly signature: Buffer;
  /** DER of the AlgorithmIdentifier, of which there are two equal ones. */
  readonly algorithm: Buffer;
}

export interface RevokedFacts {
  /** Content of the INTEGER, lower-case hex. */
  readonly serial: string;
  readonly revokedAtMs: number;
  /** RFC 5280 5.3.1; 0 when none is given. */
  readonly reason: number;
}

/** Last byte of the id-ce OIDs (2.5.29.x) that CRLs have beside those of certificates. */
export const CRL_EXTENSION = { number: 20, reason: 21 } as const;

const AUTHORITY_KEY_ID = 35;

/**
 * Reads a CRL as strictly as Envoy does since 1.38: of version 2, with a nextUpdate, no list that is
 * there and empty, no critical extension (none that Credence reads is). Throws `ERR_BAD_REQUEST`.
 */
export function readCrl(der: Uint8Array): CrlFacts {
  const outer = new DerReader(Buffer.from(der.buffer, der.byteOffset, der.byteLength));
  const parts = outer.enter(TAG.sequence);
  outer.finish();
  const signed = parts.element(TAG.sequence);
  const algorithm = parts.element(TAG.sequence);
  const signature = parts.content(TAG.bitString);
  parts.finish();
  if (signature[0] !== 0) throw malformed('the signature is no whole number of bytes');
  const tbs = new DerReader(signed).enter(TAG.sequence);
  if (!tbs.skipContent(TAG.integer, Buffer.of(1))) throw malformed('it is not of version 2');
  if (!tbs.element(TAG.sequence).equals(algorithm)) throw malformed('it names two algorithms');
  const issuer = tbs.element(TAG.sequence);
  const thisUpdateMs = readTime(tbs);
  const nextUpdateMs = readTime(tbs);
  const revoked = tbs.tag === TAG.sequence ? readRevoked(tbs.enter(TAG.sequence)) : [];
  const wrapper = tbs.done ? undefined : tbs.enter(TAG.crlExtensions);
  tbs.finish();
  const extensions = wrapper
    ? readExtensions(wrapper.enter(TAG.sequence))
    : new Map<number, DerReader>();
  wrapper?.finish();
  const keyId = extensions.get(AUTHORITY_KEY_ID)?.enter(TAG.sequence);
  return {
    ...{ issuer, thisUpdateMs, nextUpdateMs, revoked, signed, algorithm },
    signature: signature.subarray(1),
    authorityKeyId:
      keyId?.tag === TAG.authorityKeyIdValue ? keyId.content(TAG.authorityKeyIdValue) : undefined,
    number: extensions.get(CRL_EXTENSION.number)?.content(TAG.integer),
  };
}

/** Whether this key has signed the CRL. */
export function isSignedBy(
  { signed, signature, algorithm }: CrlFacts,
  publicKey: KeyLike,
): boolean {
  const digest = DIGESTS.get(algorithm.toString('hex'));
  return digest !== undefined && verify(digest, signed, publicKey, signature);
}

/** RFC 5758 3.2 and RFC 4055 5: AlgorithmIdentifiers, as DER in hex, with their digests. */
const DIGESTS: ReadonlyMap<string, string> = new Map([
  ['300a06082a8648ce3d040302', 'sha256'],
  ['300a06082a8648ce3d040303', 'sha384'],
  ['300d06092a864886f70d01010b0500', 'sha256'],
]);

function readRevoked(list: DerReader): RevokedFacts[] {
  if (list.done) throw malformed('its list of certificates is there and empty');
  const revoked: RevokedFacts[] = [];
  while (!list.done) {
    const entry = list.enter(TAG.sequence);
    const serial = entry.content(TAG.integer).toString('hex');
    const revokedAtMs = readTime(entry);
    const extensions = entry.done ? undefined : readExtensions(entry.enter(TAG.sequence));
    entry.finish();
    const reason = extensions?.get(CRL_EXTENSION.reason)?.content(TAG.enumerated)[0] ?? 0;
    revoked.push({ serial, revokedAtMs, reason });
  }
  return revoked;
}

/** The values of the extensions 2.5.29.x, by x. */
function readExtensions(list: DerReader): Map<number, DerReader> {
  // Envoy refuses a sequence without any since 1.38.
  if (list.done) throw malformed('a list of extensions is there and empty');
  const found = new Map<number, DerReader>();
  while (!list.done) {
    const extension = list.enter(TAG.sequence);
    const oid = extension.content(TAG.oid);
    // Whoever does not know a critical one may not use the CRL (RFC 5280 5.2).
    if (extension.tag === TAG.boolean) throw malformed('it has a critical extension');
    const value = extension.enter(TAG.octetString);
    extension.finish();
    if (oid.length !== 3 || oid[0] !== 0x55 || oid[1] !== 0x1d) continue;
    const last = oid[2] ?? 0;
    if (found.has(last)) throw malformed(`the extension 2.5.29.${last} is there twice`);
    found.set(last, value);
  }
  return found;
}

function malformed(why: string): IdentityError {
  return new IdentityError('ERR_BAD_REQUEST', `not a usable CRL: ${why}`);
}
