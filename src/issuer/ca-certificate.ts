import { X509Certificate } from 'node:crypto';
import { IdentityError } from '../core/errors.ts';
import { pemBytes } from '../identity/pem.ts';
import { trustDomainId, type TrustDomain } from '../identity/spiffe-id.ts';
import { DerReader, TAG } from '../core/der.ts';
import { readTime } from '../core/der-time.ts';
import { EXTENSION, KEY_USAGE } from '../identity/certificate.ts';
import { nameConstraintFault } from './name-constraints.ts';
import { type Validity } from './profile.ts';

/** A signing certificate of our own, read and found to be one. */
export interface CaCertificate {
  readonly der: Buffer;
  readonly pem: Buffer;
  /** DER of the subject Name: what a leaf's issuer has to equal. */
  readonly subject: Buffer;
  readonly issuer: Buffer;
  /** The subject for people, `O=example.org, CN=…`. */
  readonly subjectText: string;
  readonly spki: Buffer;
  readonly keyId: Buffer;
  /** Lower-case hex. */
  readonly serial: string;
  readonly validity: Validity;
}

/**
 * Reads a root or issuing CA and checks it against the profile (X5-20..X5-25) with Node's parser
 * and the DER reader, so that a restart needs no X.509 library. Throws `ERR_KEY_STORE`.
 */
export function readCaCertificate(bytes: Buffer, trustDomain: TrustDomain): CaCertificate {
  const outer = new DerReader(bytes);
  const parts = outer.enter(TAG.sequence);
  outer.finish();
  const tbs = parts.enter(TAG.sequence);
  tbs.element(TAG.version);
  const serial = tbs.content(TAG.integer).toString('hex');
  tbs.element(TAG.sequence);
  const issuer = tbs.element(TAG.sequence);
  const times = tbs.enter(TAG.sequence);
  const validity = { notBeforeMs: readTime(times), notAfterMs: readTime(times) };
  const subject = tbs.element(TAG.sequence);
  const spki = tbs.element(TAG.sequence);
  const extensions = readExtensions(tbs.enter(TAG.extensions).enter(TAG.sequence));
  checkProfile(extensions, trustDomain);
  const keyId = extensions.get(EXTENSION.subjectKeyId)?.value.content(TAG.octetString);
  if (!keyId) throw broken('RFC 5280 4.2.1.2: it has no subject key identifier');
  const subjectText = new X509Certificate(bytes).subject.replaceAll('\n', ', ');
  const pem = pemBytes('CERTIFICATE', bytes);
  return { der: bytes, pem, subject, issuer, subjectText, spki, keyId, serial, validity };
}

/** Checks name and signature of `certificate` against its issuer; throws `ERR_KEY_STORE`. */
export function checkIssuedBy(certificate: CaCertificate, issuer: CaCertificate): void {
  if (!certificate.issuer.equals(issuer.subject)) {
    throw broken(`its issuer is not ${issuer.subjectText}`);
  }
  const { publicKey } = new X509Certificate(issuer.der);
  if (!new X509Certificate(certificate.der).verify(publicKey)) {
    throw broken(`${issuer.subjectText} did not sign it`);
  }
}

interface Extension {
  readonly critical: boolean;
  readonly value: DerReader;
}

function readExtensions(list: DerReader): ReadonlyMap<number, Extension> {
  const found = new Map<number, Extension>();
  while (!list.done) {
    const extension = list.enter(TAG.sequence);
    const oid = extension.content(TAG.oid);
    const last = oid[2];
    if (oid.length !== 3 || oid.readUInt16BE(0) !== 0x551d || last === undefined) {
      throw broken('it has an extension that a CA of credence does not have');
    }
    if (found.has(last)) throw broken(`RFC 5280 4.2: it has extension 2.5.29.${last} twice`);
    const critical = extension.tag === TAG.boolean && extension.content(TAG.boolean)[0] === 0xff;
    found.set(last, { critical, value: extension.enter(TAG.octetString) });
  }
  return found;
}

function checkProfile(extensions: ReadonlyMap<number, Extension>, trustDomain: TrustDomain): void {
  const constraints = extensions.get(EXTENSION.basicConstraints);
  const isCa = constraints?.value.enter(TAG.sequence);
  if (
    !constraints?.critical ||
    isCa?.tag !== TAG.boolean ||
    isCa.content(TAG.boolean)[0] !== 0xff
  ) {
    throw broken('X5-20: basicConstraints is not critical with cA true');
  }
  const usage = extensions.get(EXTENSION.keyUsage);
  const bits = usage?.value.content(TAG.bitString);
  if (!usage?.critical || bits?.[1] !== (KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign)) {
    throw broken('X5-20, X5-22: keyUsage is not critical with keyCertSign and cRLSign alone');
  }
  const names = extensions.get(EXTENSION.subjectAltName)?.value.enter(TAG.sequence);
  const id = names?.tag === TAG.sanUri ? names.text(TAG.sanUri) : undefined;
  if (!names?.done || id !== trustDomainId(trustDomain)) {
    throw broken(`X5-23, X5-24, X5-25: its one name is not ${trustDomainId(trustDomain)}`);
  }
  const limits = extensions.get(EXTENSION.nameConstraints);
  if (limits) checkConstraints(limits, trustDomain);
  if (extensions.has(EXTENSION.extendedKeyUsage)) {
    throw broken('X5-30: it has an extended key usage');
  }
}

function checkConstraints({ critical, value }: Extension, trustDomain: TrustDomain): void {
  // RFC 5280 4.2.1.10: one that validators may overlook would promise what it does not keep.
  if (!critical) throw broken('X5-29: its name constraints are not critical');
  const fault = nameConstraintFault(value.bytes.subarray(value.start, value.end), trustDomain);
  if (fault !== undefined) throw broken(fault);
}

function broken(why: string): IdentityError {
  return new IdentityError('ERR_KEY_STORE', `not a usable CA certificate: ${why}`);
}
