import type { SpiffeId } from '../identity/spiffe-id.ts';
import { der, headerBytes, TAG, writeHeader } from '../core/der.ts';
import { timeBytes, writeTime } from '../core/der-time.ts';
import { CLIENT_AUTH, EXTENSION, KEY_USAGE, SERVER_AUTH } from '../identity/certificate.ts';
import { CRITICAL, extensionOid, SERIAL_BYTES, type Validity } from './profile.ts';
import { KEY_ID_BYTES } from './subject-key-id.ts';

/** What the issuing CA puts into each leaf. */
export interface LeafIssuer {
  /** DER of the CA's subject Name. */
  readonly name: Buffer;
  readonly keyId: Buffer;
  /** DER of the AlgorithmIdentifier of its signatures. */
  readonly signatureAlgorithm: Buffer;
}

/** What differs from leaf to leaf. */
export interface LeafFields {
  readonly serial: Buffer;
  readonly validity: Validity;
  readonly spki: Buffer;
  readonly keyId: Buffer;
  readonly id: SpiffeId;
  readonly dnsNames: readonly string[];
}

/** Writes the to-be-signed part of one leaf. */
export type LeafTemplate = (fields: LeafFields) => Buffer;

// RFC 5280 4.1.2.6: an empty subject; the identity is the SAN, which is critical then (X5-04).
const EMPTY_SUBJECT = der(TAG.sequence);
const SAN_PREFIX = Buffer.concat([extensionOid(EXTENSION.subjectAltName), CRITICAL]);

/**
 * Prepares all that the leaves of one issuer share. The rest is written in one pass with computed
 * lengths; no place is ever searched for, so no value can be taken for a mark.
 */
export function createLeafTemplate(issuer: LeafIssuer): LeafTemplate {
  const version = der(TAG.version, der(TAG.integer, Buffer.of(2)));
  const serial = der(TAG.integer, Buffer.alloc(SERIAL_BYTES));
  const head = Buffer.concat([version, serial, issuer.signatureAlgorithm, issuer.name]);
  const serialAt = version.length + serial.length - SERIAL_BYTES;
  const fixed = Buffer.concat(fixedExtensions(issuer.keyId));

  return (fields) => {
    const { validity, spki, id, dnsNames } = fields;
    // Inside out: how long each element's content is.
    let names = sized(id.length);
    for (const name of dnsNames) names += sized(name.length);
    const san = SAN_PREFIX.length + sized(sized(names));
    const extensions = fixed.length + sized(san);
    const times = timeBytes(validity.notBeforeMs) + timeBytes(validity.notAfterMs);
    const body =
      head.length + sized(times) + EMPTY_SUBJECT.length + spki.length + sized(sized(extensions));

    // Outside in: the bytes.
    const out = Buffer.allocUnsafe(sized(body));
    let at = writeHeader(out, 0, TAG.sequence, body);
    const serialStart = at + serialAt;
    at = put(out, at, head);
    put(out, serialStart, fields.serial);
    at = writeHeader(out, at, TAG.sequence, times);
    at = writeTime(out, at, validity.notBeforeMs);
    at = writeTime(out, at, validity.notAfterMs);
    at = put(out, at, EMPTY_SUBJECT);
    at = put(out, at, spki);
    at = writeHeader(out, at, TAG.extensions, sized(extensions));
    at = writeHeader(out, at, TAG.sequence, extensions);
    at = put(out, at, fixed);
    put(out, at - KEY_ID_BYTES, fields.keyId);
    at = writeHeader(out, at, TAG.sequence, san);
    at = put(out, at, SAN_PREFIX);
    at = writeHeader(out, at, TAG.octetString, sized(names));
    at = writeHeader(out, at, TAG.sequence, names);
    at = putText(out, at, TAG.sanUri, id);
    for (const name of dnsNames) at = putText(out, at, TAG.sanDns, name);
    return out;
  };
}

/** The finished certificate: what was signed, by which algorithm, the signature. */
export function assembleCertificate(
  tbs: Buffer,
  signatureAlgorithm: Buffer,
  signature: Buffer,
): Buffer {
  const bits = signature.length + 1;
  const body = tbs.length + signatureAlgorithm.length + sized(bits);
  // Not from the shared pool: a leaf lives for an hour and would keep 8 KiB of it alive.
  const out = Buffer.allocUnsafeSlow(sized(body));
  let at = writeHeader(out, 0, TAG.sequence, body);
  at = put(out, at, tbs);
  at = put(out, at, signatureAlgorithm);
  at = writeHeader(out, at, TAG.bitString, bits);
  out[at] = 0;
  put(out, at + 1, signature);
  return out;
}

/** All but the SAN, in their final order; the subject key identifier is left blank at the end. */
function fixedExtensions(issuerKeyId: Buffer): Buffer[] {
  const bits = Buffer.of(7, KEY_USAGE.digitalSignature);
  const purposes = der(TAG.sequence, SERVER_AUTH, CLIENT_AUTH);
  // X5-06: present, and false: DER leaves a default out (X.690 11.5), so its sequence is empty.
  const noCa = der(TAG.sequence);
  const issuerId = der(TAG.sequence, der(TAG.authorityKeyIdValue, issuerKeyId));
  const ownId = der(TAG.octetString, Buffer.alloc(KEY_ID_BYTES));
  return [
    extension(EXTENSION.keyUsage, der(TAG.bitString, bits), CRITICAL),
    extension(EXTENSION.extendedKeyUsage, purposes),
    extension(EXTENSION.basicConstraints, noCa, CRITICAL),
    extension(EXTENSION.authorityKeyId, issuerId),
    extension(EXTENSION.subjectKeyId, ownId),
  ];
}

function extension(last: number, value: Buffer, critical: Uint8Array = new Uint8Array()): Buffer {
  return der(TAG.sequence, extensionOid(last), critical, der(TAG.octetString, value));
}

function sized(length: number): number {
  return headerBytes(length) + length;
}

function put(out: Buffer, at: number, part: Buffer): number {
  out.set(part, at);
  return at + part.length;
}

/** ASCII alone gets here (SPIFFE IDs, DNS names), so a character is a byte. */
function putText(out: Buffer, at: number, tag: number, text: string): number {
  const start = writeHeader(out, at, tag, text.length);
  for (let n = 0; n < text.length; n++) out[start + n] = text.charCodeAt(n);
  return start + text.length;
}
