import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import { DerReader, TAG } from '../core/der.ts';
import { errorText, IdentityError } from '../core/errors.ts';
import { EXTENSION, KEY_USAGE } from '../identity/certificate.ts';
import { KEY_TYPES } from '../issuer/key-type.ts';
import { keyTypeOf } from '../issuer/keys.ts';
import { subjectKeyId } from '../issuer/subject-key-id.ts';

/** What a request for a node's CA asks for; its signature and its form were looked at. */
export interface CaRequest {
  /** DER of the SubjectPublicKeyInfo, in the one encoding that its type has. */
  readonly spki: Buffer;
  readonly commonName: string;
  /** Undefined when the subject has none. */
  readonly organization: string | undefined;
  readonly uris: readonly string[];
}

/** An RSA key of 4,096 bits takes a fifth of it. */
const MAX_BYTES = 8192;
const UTF8_STRING = 0x0c;
const PRINTABLE_STRING = 0x13;
const SET = 0x31;
/** [0] of a CertificationRequestInfo: its attributes (RFC 2986 4.1). */
const ATTRIBUTES = 0xa0;
const hex = (text: string) => Buffer.from(text, 'hex');
const ORGANIZATION = hex('55040a');
const COMMON_NAME = hex('550403');
/** PKCS #9 extensionRequest (RFC 2985 5.4.2). */
const EXTENSION_REQUEST = hex('2a864886f70d01090e');
/** Leaves alone below it: cA true, path length 0. */
const LEAVES_ALONE = hex('30060101ff020100');
/** The only public exponent that is in use. */
const RSA_EXPONENT = 65537n;

/**
 * Reads a certification request (RFC 2986) for a CA that signs leaves alone. Strict: whatever is not
 * asked for by a daemon, or could be said in a second way, throws `ERR_BAD_REQUEST`.
 */
export function parseCaRequest(bytes: Buffer): CaRequest {
  if (bytes.length > MAX_BYTES) {
    throw refused(`it has ${bytes.length} bytes, at most ${MAX_BYTES} are read`);
  }
  const outer = new DerReader(bytes);
  const parts = outer.enter(TAG.sequence);
  outer.finish();
  const info = parts.element(TAG.sequence);
  const algorithm = parts.element(TAG.sequence);
  const bits = parts.content(TAG.bitString);
  parts.finish();
  const fields = new DerReader(info).enter(TAG.sequence);
  if (!fields.skipContent(TAG.integer, Buffer.of(0))) throw refused('its version is not 0');
  const subject = readSubject(fields.enter(TAG.sequence));
  const spki = fields.element(TAG.sequence);
  const uris = readAttributes(fields.enter(ATTRIBUTES));
  fields.finish();
  checkSignature({ info, algorithm, bits, spki });
  return { spki, ...subject, uris };
}

/** The identifier of the key in a request; nothing of it is verified. Undefined when it cannot be read. */
export function keyIdIn(bytes: Buffer): Buffer | undefined {
  try {
    const info = new DerReader(bytes).enter(TAG.sequence).enter(TAG.sequence);
    info.element(TAG.integer);
    info.element(TAG.sequence);
    return subjectKeyId(info.element(TAG.sequence));
  } catch {
    return undefined;
  }
}

function readSubject(names: DerReader): Pick<CaRequest, 'commonName' | 'organization'> {
  const found = new Map<string, string>();
  while (!names.done) {
    const set = names.enter(SET);
    const pair = set.enter(TAG.sequence);
    set.finish();
    const type = pair.content(TAG.oid);
    const known = [COMMON_NAME, ORGANIZATION].find((one) => one.equals(type));
    if (!known) throw refused('its subject has more than an organization and a common name');
    const tag = pair.tag === PRINTABLE_STRING ? PRINTABLE_STRING : UTF8_STRING;
    const value = pair.content(tag).toString('utf8');
    pair.finish();
    if (found.has(known.toString('hex'))) throw refused('its subject has a name twice');
    found.set(known.toString('hex'), value);
  }
  const commonName = found.get(COMMON_NAME.toString('hex'));
  if (commonName === undefined) throw refused('its subject has no common name');
  return { commonName, organization: found.get(ORGANIZATION.toString('hex')) };
}

/** One attribute, the extensions that are wanted; the URIs of their subjectAltName. */
function readAttributes(attributes: DerReader): readonly string[] {
  const attribute = attributes.enter(TAG.sequence);
  attributes.finish();
  if (!attribute.skipContent(TAG.oid, EXTENSION_REQUEST)) {
    throw refused('it has an attribute that is no request for extensions');
  }
  const values = attribute.enter(SET);
  attribute.finish();
  const list = values.enter(TAG.sequence);
  values.finish();
  const found = new Map<number, Buffer>();
  while (!list.done) {
    const extension = list.enter(TAG.sequence);
    const oid = extension.content(TAG.oid);
    const last = oid.length === 3 && oid.readUInt16BE(0) === 0x551d ? (oid[2] ?? 0) : 0;
    if (!ASKED.includes(last)) {
      throw refused(`it asks for the extension ${oid.toString('hex')}, which is not given`);
    }
    if (extension.tag === TAG.boolean) extension.content(TAG.boolean);
    if (found.has(last)) throw refused(`it asks for the extension 2.5.29.${last} twice`);
    found.set(last, extension.content(TAG.octetString));
    extension.finish();
  }
  checkConstraints(found.get(EXTENSION.basicConstraints));
  checkUsage(found.get(EXTENSION.keyUsage));
  return readUris(found.get(EXTENSION.subjectAltName));
}

const ASKED: readonly number[] = [
  EXTENSION.basicConstraints,
  EXTENSION.keyUsage,
  EXTENSION.subjectAltName,
];

function checkConstraints(value: Buffer | undefined): void {
  if (!value?.equals(LEAVES_ALONE)) {
    throw refused('X5-20: it does not ask for a CA of path length 0');
  }
}

function checkUsage(value: Buffer | undefined): void {
  if (!value) throw refused('X5-20: it asks for no key usage');
  const usage = new DerReader(value);
  // The last bit that is set is the seventh: one is unused (X.690 11.2.2).
  const expected = Buffer.of(1, KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign);
  if (!usage.skipContent(TAG.bitString, expected) || !usage.done) {
    throw refused('X5-22: it asks for another key usage than keyCertSign and cRLSign');
  }
}

function readUris(value: Buffer | undefined): readonly string[] {
  if (!value) return [];
  const outer = new DerReader(value);
  const names = outer.enter(TAG.sequence);
  outer.finish();
  const uris: string[] = [];
  while (!names.done) {
    if (names.tag !== TAG.sanUri) throw refused('it asks for a name that is no URI');
    uris.push(names.text(TAG.sanUri));
  }
  return uris;
}

interface Signed {
  readonly info: Buffer;
  readonly algorithm: Buffer;
  /** Content of the bit string. */
  readonly bits: Buffer;
  readonly spki: Buffer;
}

/** That whoever asks has the key (RFC 2986 3), and that it is one of those that are signed for. */
function checkSignature({ info, algorithm, bits, spki }: Signed): void {
  const key = readKey(spki);
  const type = keyTypeOf(key);
  if (type === undefined)
    throw refused(`its key is of none of ${Object.keys(KEY_TYPES).join(' ')}`);
  const row = KEY_TYPES[type];
  // A point can be written in two ways, and a number with zeros in front: what was seen of a key would
  // not be found again.
  const isPlain =
    row.kind === 'ec'
      ? spki.subarray(0, row.spkiPrefix.length).equals(row.spkiPrefix) &&
        spki[row.spkiPrefix.length] === UNCOMPRESSED
      : key.asymmetricKeyDetails?.publicExponent === RSA_EXPONENT;
  if (!isPlain || !key.export({ type: 'spki', format: 'der' }).equals(spki)) {
    throw refused('its key is not in the usual encoding');
  }
  if (!algorithm.equals(row.signatureAlgorithm)) {
    throw refused(`it is signed with another algorithm than that of ${type}`);
  }
  if (bits[0] !== 0 || !verify(row.digest, info, key, bits.subarray(1))) {
    throw refused('its signature is not that of its key');
  }
}

const UNCOMPRESSED = 4;

function readKey(spki: Buffer): KeyObject {
  try {
    return createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch (thrown) {
    throw refused(`its key cannot be read (${errorText(thrown)})`, thrown);
  }
}

function refused(why: string, cause?: unknown): IdentityError {
  return new IdentityError('ERR_BAD_REQUEST', `cannot use the request: ${why}`, { cause });
}
