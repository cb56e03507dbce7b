import { der, TAG } from '../core/der.ts';
import { EXTENSION, KEY_USAGE } from '../identity/certificate.ts';
import { trustDomainId, type TrustDomain } from '../identity/spiffe-id.ts';
import { KEY_TYPES } from './key-type.ts';
import type { SigningKey } from './keys.ts';
import { CRITICAL, extensionOid } from './profile.ts';
import { subjectKeyId } from './subject-key-id.ts';
import { assembleCertificate } from './template.ts';

/** RFC 5280 appendix A: ub-organization-name and ub-common-name. */
const MAX_NAME = 64;
const UTF8_STRING = 0x0c;
const SET = 0x31;
/** [0] of a CertificationRequestInfo: its attributes (RFC 2986 4.1). */
const ATTRIBUTES = 0xa0;
const hex = (text: string) => Buffer.from(text, 'hex');
const ORGANIZATION = hex('060355040a');
const COMMON_NAME = hex('0603550403');
/** PKCS #9 extensionRequest (RFC 2985 5.4.2). */
const EXTENSION_REQUEST = hex('06092a864886f70d01090e');

/**
 * A request for an issuing CA of the trust domain, as DER: a CA that signs leaves alone, its one
 * name the trust domain's ID (X5-20..X5-25). Whoever signs it is free to leave out what it does not
 * give. `commonName` is for people; longer than 64 bytes it is cut.
 */
export async function createSigningRequest(
  key: SigningKey,
  trustDomain: TrustDomain,
  commonName = `Credence issuing CA ${subjectKeyId(key.spki).toString('hex').slice(0, 16)}`,
): Promise<Buffer> {
  const subject = der(
    TAG.sequence,
    ...(trustDomain.length <= MAX_NAME ? [nameOf(ORGANIZATION, trustDomain)] : []),
    nameOf(COMMON_NAME, commonName),
  );
  const extensions = der(
    TAG.sequence,
    extension(EXTENSION.basicConstraints, BASIC_CONSTRAINTS, CRITICAL),
    extension(EXTENSION.keyUsage, CA_USAGE, CRITICAL),
    extension(
      EXTENSION.subjectAltName,
      der(TAG.sequence, der(TAG.sanUri, Buffer.from(trustDomainId(trustDomain), 'latin1'))),
    ),
  );
  const info = der(
    TAG.sequence,
    der(TAG.integer, Buffer.of(0)),
    subject,
    key.spki,
    der(ATTRIBUTES, der(TAG.sequence, EXTENSION_REQUEST, der(SET, extensions))),
  );
  const { signatureAlgorithm } = KEY_TYPES[key.type];
  return assembleCertificate(info, signatureAlgorithm, await key.sign(info));
}

/** cA true, path length 0: leaves alone below it. */
const BASIC_CONSTRAINTS = der(
  TAG.sequence,
  der(TAG.boolean, Buffer.of(0xff)),
  der(TAG.integer, Buffer.of(0)),
);
/** The last bit that is set is the seventh: one is unused (X.690 11.2.2). */
const CA_USAGE = der(TAG.bitString, Buffer.of(1, KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign));

function extension(last: number, value: Buffer, critical: Uint8Array = Buffer.alloc(0)): Buffer {
  return der(TAG.sequence, extensionOid(last), critical, der(TAG.octetString, value));
}

function nameOf(type: Buffer, text: string): Buffer {
  const value = der(UTF8_STRING, Buffer.from(text, 'utf8').subarray(0, MAX_NAME));
  return der(SET, der(TAG.sequence, type, value));
}
