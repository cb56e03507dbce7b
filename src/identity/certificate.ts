import { DerReader, TAG } from '../core/der.ts';
import { readTime } from '../core/der-time.ts';
import { IdentityError } from '../core/errors.ts';

/** What a certificate says, as far as somebody has to judge it; nothing is verified. */
export interface CertificateFacts {
  /** As it stands, big-endian. */
  readonly serial: Buffer;
  /** Names as DER: equal bytes are equal names. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** SubjectPublicKeyInfo as DER. */
  readonly publicKey: Buffer;
  /** First byte of RFC 5280 4.2.1.3, see `KEY_USAGE`; 0 when there is no such extension. */
  readonly keyUsage: number;
  /** RFC 5280 4.2.1.12: OIDs as DER; undefined when there is no such extension. */
  readonly purposes: readonly Buffer[] | undefined;
  readonly isCa: boolean;
  /** How many CAs may stand between this one and a leaf (RFC 5280 4.2.1.9); undefined: any number. */
  readonly pathLength: number | undefined;
  /** DER of NameConstraints (RFC 5280 4.2.1.10): validators hold them against leaves, critical or not. */
  readonly nameConstraints: Buffer | undefined;
  /** OIDs, in hex, of critical extensions of which nothing here says what they mean. */
  readonly unreadCritical: readonly string[];
  readonly uris: readonly string[];
  readonly subjectKeyId: Buffer | undefined;
  readonly authorityKeyId: Buffer | undefined;
}

/** keyUsage (RFC 5280 4.2.1.3) as the first byte of its bit string. */
export const KEY_USAGE = { digitalSignature: 0x80, keyCertSign: 0x04, cRLSign: 0x02 } as const;

/** Purposes of RFC 5280 4.2.1.12, the OIDs as DER. */
export const SERVER_AUTH = Buffer.from('06082b06010505070301', 'hex');
export const CLIENT_AUTH = Buffer.from('06082b06010505070302', 'hex');

/** Last byte of the id-ce OIDs (2.5.29.x) that anybody here writes or reads. */
export const EXTENSION = {
  subjectKeyId: 14,
  keyUsage: 15,
  subjectAltName: 17,
  basicConstraints: 19,
  nameConstraints: 30,
  authorityKeyId: 35,
  extendedKeyUsage: 37,
} as const;
const UNIQUE_IDS = [0xa1, 0xa2, 0x81, 0x82];

/** Reads a certificate (RFC 5280 4.1). Throws `ERR_BAD_REQUEST` when it is none. */
export function readCertificate(der: Uint8Array): CertificateFacts {
  const outer = new DerReader(Buffer.from(der.buffer, der.byteOffset, der.byteLength));
  const parts = outer.enter(TAG.sequence);
  outer.finish();
  const tbs = parts.enter(TAG.sequence);
  parts.enter(TAG.sequence);
  parts.enter(TAG.bitString);
  parts.finish();
  if (tbs.tag === TAG.version) tbs.enter(TAG.version);
  const serial = tbs.content(TAG.integer);
  tbs.enter(TAG.sequence);
  const issuer = tbs.element(TAG.sequence);
  const times = tbs.enter(TAG.sequence);
  const notBeforeMs = readTime(times);
  const notAfterMs = readTime(times);
  const subject = tbs.element(TAG.sequence);
  const publicKey = tbs.element(TAG.sequence);
  while (tbs.tag !== undefined && UNIQUE_IDS.includes(tbs.tag)) tbs.enter(tbs.tag);
  const unreadCritical: string[] = [];
  const extensions = tbs.done ? new Map<number, DerReader>() : readExtensions(tbs, unreadCritical);
  tbs.finish();
  const constraints = readConstraints(extensions.get(EXTENSION.basicConstraints));
  return {
    ...{ serial, issuer, subject, notBeforeMs, notAfterMs, publicKey, unreadCritical },
    ...constraints,
    nameConstraints: restOf(extensions.get(EXTENSION.nameConstraints)),
    keyUsage: readKeyUsage(extensions.get(EXTENSION.keyUsage)),
    purposes: readPurposes(extensions.get(EXTENSION.extendedKeyUsage)),
    uris: readUris(extensions.get(EXTENSION.subjectAltName)),
    subjectKeyId: extensions.get(EXTENSION.subjectKeyId)?.content(TAG.octetString),
    authorityKeyId: readAuthorityKeyId(extensions.get(EXTENSION.authorityKeyId)),
  };
}

function restOf(value: DerReader | undefined): Buffer | undefined {
  return value?.bytes.subarray(value.start, value.end);
}

const READ_HERE: readonly number[] = Object.values(EXTENSION);

/** The values of the extensions 2.5.29.x, by x. */
function readExtensions(tbs: DerReader, unreadCritical: string[]): Map<number, DerReader> {
  const found = new Map<number, DerReader>();
  const wrapper = tbs.enter(TAG.extensions);
  const list = wrapper.enter(TAG.sequence);
  wrapper.finish();
  while (!list.done) {
    const extension = list.enter(TAG.sequence);
    const { bytes, start, end } = extension.enter(TAG.oid);
    const critical = extension.tag === TAG.boolean && extension.content(TAG.boolean)[0] !== 0;
    const value = extension.enter(TAG.octetString);
    const ours = end - start === 3 && bytes[start] === 0x55 && bytes[start + 1] === 0x1d;
    const last = bytes[start + 2] ?? 0;
    if (critical && !(ours && READ_HERE.includes(last))) {
      unreadCritical.push(bytes.toString('hex', start, end));
    }
    if (!ours) continue;
    // RFC 5280 4.2: read as the first by one and as the last by another, they say two things.
    if (found.has(last)) throw twice(last);
    found.set(last, value);
  }
  return found;
}

function twice(last: number): IdentityError {
  return new IdentityError('ERR_BAD_REQUEST', `the extension 2.5.29.${last} is there twice`);
}

function readKeyUsage(value: DerReader | undefined): number {
  if (!value) return 0;
  const { bytes, start, end } = value.enter(TAG.bitString);
  // The first byte counts the unused bits.
  return end - start > 1 ? (bytes[start + 1] ?? 0) : 0;
}

function readPurposes(value: DerReader | undefined): Buffer[] | undefined {
  if (!value) return undefined;
  const list = value.enter(TAG.sequence);
  const purposes: Buffer[] = [];
  while (!list.done) purposes.push(list.element(TAG.oid));
  return purposes;
}

function readConstraints(value: DerReader | undefined) {
  const none = { isCa: false, pathLength: undefined };
  if (!value) return none;
  const fields = value.enter(TAG.sequence);
  if (fields.tag !== TAG.boolean || fields.content(TAG.boolean)[0] === 0) return none;
  const length = fields.done ? undefined : fields.content(TAG.integer);
  // More octets than a number of certificates has any use for allow as many as there may be.
  const pathLength = length && length.length <= 4 ? length.readIntBE(0, length.length) : undefined;
  return { isCa: true, pathLength };
}

function readUris(value: DerReader | undefined): string[] {
  if (!value) return [];
  const names = value.enter(TAG.sequence);
  const uris: string[] = [];
  while (names.tag !== undefined) {
    if (names.tag === TAG.sanUri) uris.push(names.text(TAG.sanUri));
    else names.enter(names.tag);
  }
  return uris;
}

function readAuthorityKeyId(value: DerReader | undefined): Buffer | undefined {
  if (!value) return undefined;
  const fields = value.enter(TAG.sequence);
  return fields.tag === TAG.authorityKeyIdValue
    ? fields.content(TAG.authorityKeyIdValue)
    : undefined;
}
