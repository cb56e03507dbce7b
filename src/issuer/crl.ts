import { createPublicKey } from 'node:crypto';
import { der, TAG } from '../core/der.ts';
import { LAST_TIME_MS, timeBytes, writeTime } from '../core/der-time.ts';
import { errorText, IdentityError } from '../core/errors.ts';
import { EXTENSION } from '../identity/certificate.ts';
import { CRL_EXTENSION, isSignedBy, readCrl } from '../identity/crl.ts';
import type { CaCertificate } from './ca-certificate.ts';
import { KEY_TYPES } from './key-type.ts';
import type { SigningKey } from './keys.ts';
import { extensionOid } from './profile.ts';
import { REVOCATION_REASONS, type RevocationReason } from '../identity/revocation-reason.ts';
import { assembleCertificate } from './template.ts';

/** A certificate that is not to be accepted any more. */
export interface CrlEntry {
  /** Content of its INTEGER, lower-case hex. */
  readonly serial: string;
  readonly revokedAtMs: number;
  readonly reason: RevocationReason;
}

/** Times are wall clock, cut to whole seconds. */
export interface CrlRequest {
  readonly signer: { readonly certificate: CaCertificate; readonly key: SigningKey };
  readonly entries: readonly CrlEntry[];
  readonly number: number;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
}

/**
 * An entry has up to 56 bytes, and with a thousand of them a CRL stays below what its DER, which
 * every proxy gets with every bundle, may have here.
 */
export const MAX_CRL_ENTRIES = 1000;

/**
 * Makes a CRL (RFC 5280 5). By hand: what the library writes for an entry without a reason is refused
 * by Envoy since 1.38. What the key, wherever it lives, has signed is read back and verified before
 * anybody gets it: `ERR_ISSUER` when it is no good.
 */
export async function buildCrl(request: CrlRequest): Promise<Buffer> {
  const { certificate, key } = request.signer;
  const { signatureAlgorithm } = KEY_TYPES[key.type];
  const tbs = toBeSigned(request, signatureAlgorithm);
  const crl = assembleCertificate(tbs, signatureAlgorithm, await key.sign(tbs));
  try {
    const publicKey = createPublicKey({ key: certificate.spki, format: 'der', type: 'spki' });
    if (isSignedBy(readCrl(crl), publicKey)) return crl;
  } catch (thrown) {
    throw withheld(certificate, errorText(thrown), thrown);
  }
  throw withheld(certificate, 'its key made a signature that does not verify');
}

function toBeSigned({ signer, entries, ...rest }: CrlRequest, algorithm: Buffer): Buffer {
  const { subject, keyId } = signer.certificate;
  return der(
    TAG.sequence,
    der(TAG.integer, Buffer.of(1)),
    algorithm,
    subject,
    time(rest.thisUpdateMs),
    time(rest.nextUpdateMs),
    // RFC 5280 5.1.2.6: absent when there is none.
    ...(entries.length === 0 ? [] : [der(TAG.sequence, ...entries.map(entryOf))]),
    der(
      TAG.crlExtensions,
      der(
        TAG.sequence,
        extension(EXTENSION.authorityKeyId, der(TAG.sequence, der(TAG.authorityKeyIdValue, keyId))),
        extension(CRL_EXTENSION.number, der(TAG.integer, unsigned(rest.number))),
      ),
    ),
  );
}

function entryOf({ serial, revokedAtMs, reason }: CrlEntry): Buffer {
  const code = REVOCATION_REASONS[reason];
  // RFC 5280 5.3.1: unspecified is said by leaving it out; an empty list of extensions is no DER.
  const why =
    code === 0
      ? []
      : [der(TAG.sequence, extension(CRL_EXTENSION.reason, der(TAG.enumerated, Buffer.of(code))))];
  const number = der(TAG.integer, Buffer.from(serial, 'hex'));
  return der(TAG.sequence, number, time(revokedAtMs), ...why);
}

function extension(last: number, value: Buffer): Buffer {
  return der(TAG.sequence, extensionOid(last), der(TAG.octetString, value));
}

function time(ms: number): Buffer {
  const whole = Math.floor(Math.min(ms, LAST_TIME_MS) / 1000) * 1000;
  const out = Buffer.alloc(timeBytes(whole));
  writeTime(out, 0, whole);
  return out;
}

/** Content of a positive INTEGER: the shortest that does not begin with a set bit (X.690 8.3). */
function unsigned(value: number): Buffer {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  return (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Buffer.of(0), bytes]);
}

function withheld({ subjectText }: CaCertificate, why: string, cause?: unknown): IdentityError {
  return new IdentityError('ERR_ISSUER', `the CRL of ${subjectText} is withheld: ${why}`, {
    cause,
  });
}
