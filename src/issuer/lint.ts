import { errorText, IdentityError } from '../core/errors.ts';
import { DerReader, TAG } from '../core/der.ts';
import { readTime } from '../core/der-time.ts';
import { CLIENT_AUTH, EXTENSION, KEY_USAGE, SERVER_AUTH } from '../identity/certificate.ts';
import { CRITICAL, type Validity } from './profile.ts';
import type { LeafFields, LeafIssuer } from './template.ts';

/** What a leaf has to say: what was asked for, and by whom it is signed. */
export interface LeafExpectation {
  readonly fields: LeafFields;
  readonly issuer: LeafIssuer;
  readonly issuerValidity: Validity;
}

const VERSION_3 = Buffer.of(TAG.integer, 1, 2);
const DIGITAL_SIGNATURE = Buffer.of(7, KEY_USAGE.digitalSignature);

/**
 * The last look at a leaf before it leaves: reads the finished DER by itself, shares no writing
 * code, and throws `ERR_BUG` with the rule that is broken. The signature's value is not verified;
 * that would cost more than the whole mint.
 */
export function lintLeaf(certificate: Buffer, want: LeafExpectation): void {
  try {
    const outer = new DerReader(certificate);
    const parts = outer.enter(TAG.sequence);
    outer.finish();
    lintSignedPart(parts.enter(TAG.sequence), want);
    if (!parts.skip(want.issuer.signatureAlgorithm)) fail('RFC 5280 4.1.1.2: outer algorithm');
    const { bytes, start, end } = parts.enter(TAG.bitString);
    if (bytes[start] !== 0 || end - start < 2) fail('RFC 5280 4.1.1.3: signature');
    parts.finish();
  } catch (thrown) {
    throw new IdentityError('ERR_BUG', `certificate withheld: ${errorText(thrown)}`, {
      cause: thrown,
    });
  }
}

function lintSignedPart(tbs: DerReader, want: LeafExpectation): void {
  if (!tbs.skipContent(TAG.version, VERSION_3)) fail('RFC 5280 4.1.2.1: version 3');
  if (!tbs.skipContent(TAG.integer, want.fields.serial)) fail('serial number is not the drawn one');
  if (!positive(want.fields.serial)) fail('RFC 5280 4.1.2.2: serial number');
  if (!tbs.skip(want.issuer.signatureAlgorithm)) fail('RFC 5280 4.1.2.3: inner algorithm');
  if (!tbs.skip(want.issuer.name)) fail("RFC 5280 4.1.2.4: issuer is not the CA's subject");
  lintValidity(tbs.enter(TAG.sequence), want);
  tbs.enter(TAG.sequence).finish();
  if (!tbs.skip(want.fields.spki)) fail('public key is not the generated one');
  const wrapper = tbs.enter(TAG.extensions);
  lintExtensions(wrapper.enter(TAG.sequence), want);
  wrapper.finish();
  tbs.finish();
}

function positive(serial: Buffer): boolean {
  const first = serial[0] ?? 0;
  return first > 0 && first < 0x80 && serial.length <= 20;
}

function lintValidity(times: DerReader, want: LeafExpectation): void {
  const notBeforeMs = readTime(times);
  const notAfterMs = readTime(times);
  times.finish();
  if (notBeforeMs !== want.fields.validity.notBeforeMs) fail('notBefore is not the wanted one');
  if (notAfterMs !== want.fields.validity.notAfterMs) fail('notAfter is not the wanted one');
  if (notAfterMs <= notBeforeMs) fail('RFC 5280 4.1.2.5: validity is empty');
  if (notAfterMs > want.issuerValidity.notAfterMs) fail('leaf outlives its issuer');
}

interface ExtensionRule {
  /** Last byte of the OID 2.5.29.x. */
  readonly last: number;
  readonly critical: boolean;
  readonly rule: string;
  readonly check: (value: DerReader, want: LeafExpectation) => void;
}

/** Every extension that a leaf has; no other, each once. */
const EXTENSION_RULES: readonly ExtensionRule[] = [
  { last: EXTENSION.keyUsage, critical: true, rule: 'X5-07', check: lintKeyUsage },
  { last: EXTENSION.extendedKeyUsage, critical: false, rule: 'X5-11', check: lintExtendedKeyUsage },
  { last: EXTENSION.basicConstraints, critical: true, rule: 'X5-06', check: lintBasicConstraints },
  {
    last: EXTENSION.subjectKeyId,
    critical: false,
    rule: 'RFC 5280 4.2.1.2',
    check: lintSubjectKeyId,
  },
  {
    last: EXTENSION.authorityKeyId,
    critical: false,
    rule: 'RFC 5280 4.2.1.1',
    check: lintAuthorityKeyId,
  },
  {
    last: EXTENSION.subjectAltName,
    critical: true,
    rule: 'X5-01, X5-04',
    check: lintSubjectAltName,
  },
];

function lintExtensions(list: DerReader, want: LeafExpectation): void {
  let seen = 0;
  while (!list.done) {
    const extension = list.enter(TAG.sequence);
    const { bytes, start, end } = extension.enter(TAG.oid);
    const last = bytes[start + 2] ?? -1;
    const known = end - start === 3 && bytes[start] === 0x55 && bytes[start + 1] === 0x1d;
    const index = known ? EXTENSION_RULES.findIndex((rule) => rule.last === last) : -1;
    const rule = EXTENSION_RULES[index] ?? fail('unknown extension');
    if ((seen & (1 << index)) !== 0) fail(`RFC 5280 4.2: extension 2.5.29.${last} twice`);
    seen |= 1 << index;
    if (extension.skip(CRITICAL) !== rule.critical) {
      fail(`${rule.rule}: extension 2.5.29.${last} has the wrong criticality`);
    }
    const value = extension.enter(TAG.octetString);
    extension.finish();
    rule.check(value, want);
    value.finish();
  }
  if (seen !== (1 << EXTENSION_RULES.length) - 1) fail(`${missing(seen)}: extension missing`);
}

function missing(seen: number): string {
  return EXTENSION_RULES.find((_, index) => (seen & (1 << index)) === 0)?.rule ?? '';
}

function lintKeyUsage(value: DerReader): void {
  if (!value.skipContent(TAG.bitString, DIGITAL_SIGNATURE)) {
    fail('X5-08, X5-09: keyUsage is not digitalSignature alone');
  }
}

function lintExtendedKeyUsage(value: DerReader): void {
  const purposes = value.enter(TAG.sequence);
  if (!purposes.skip(SERVER_AUTH) || !purposes.skip(CLIENT_AUTH)) {
    fail('X5-12: not serverAuth and clientAuth');
  }
  purposes.finish();
}

function lintBasicConstraints(value: DerReader): void {
  if (!value.enter(TAG.sequence).done) fail('X5-06: cA is not false');
}

function lintSubjectKeyId(value: DerReader, want: LeafExpectation): void {
  if (!value.skipContent(TAG.octetString, want.fields.keyId))
    fail('RFC 5280 4.2.1.2: key identifier');
}

function lintAuthorityKeyId(value: DerReader, want: LeafExpectation): void {
  const fields = value.enter(TAG.sequence);
  if (!fields.skipContent(TAG.authorityKeyIdValue, want.issuer.keyId)) {
    fail("RFC 5280 4.2.1.1: authority key identifier is not the CA's");
  }
  fields.finish();
}

function lintSubjectAltName(value: DerReader, want: LeafExpectation): void {
  const names = value.enter(TAG.sequence);
  if (!names.skipText(TAG.sanUri, want.fields.id)) fail('X5-01: URI name is not the SPIFFE ID');
  for (const name of want.fields.dnsNames) {
    if (!names.skipText(TAG.sanDns, name)) fail('X5-02: DNS name is not the wanted one');
  }
  if (!names.done) fail('X5-01: one name too many');
}

function fail(rule: string): never {
  throw new IdentityError('ERR_BUG', rule);
}
