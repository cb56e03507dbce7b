import { der, TAG } from '../core/der.ts';
import { timeBytes, writeTime } from '../core/der-time.ts';
import { EXTENSION, KEY_USAGE } from '../identity/certificate.ts';
import { trustDomainId, type TrustDomain } from '../identity/spiffe-id.ts';
import type { Authority } from '../issuer/authority.ts';
import { checkIssuedBy, readCaCertificate, type CaCertificate } from '../issuer/ca-certificate.ts';
import { KEY_TYPES } from '../issuer/key-type.ts';
import { CRITICAL, extensionOid, type Validity } from '../issuer/profile.ts';
import { assembleCertificate } from '../issuer/template.ts';
import { nodeCommonName, type Candidate } from './judge.ts';

/** What is signed: nothing in it comes from the request but the key. */
export interface NodeCa {
  readonly trustDomain: TrustDomain;
  readonly candidate: Pick<Candidate, 'node' | 'spki' | 'keyId'>;
  readonly serial: Buffer;
  readonly validity: Validity;
  readonly issuer: Authority;
}

/** RFC 5280 appendix A: ub-organization-name. */
const MAX_ORGANIZATION = 64;
const UTF8_STRING = 0x0c;
const SET = 0x31;
const hex = (text: string) => Buffer.from(text, 'hex');
const ORGANIZATION = hex('060355040a');
const COMMON_NAME = hex('0603550403');
const NAME_CONSTRAINTS = 30;
/** [0] of NameConstraints, permittedSubtrees; [6] of GeneralName, a URI (RFC 5280 4.2.1.10). */
const PERMITTED = 0xa0;
const URI = 0x86;
const VERSION_3 = der(TAG.version, der(TAG.integer, Buffer.of(2)));
/** cA true, path length 0: leaves alone below it (X5-20, X5-28). */
const LEAVES_ALONE = hex('30060101ff020100');
/** The last bit that is set is the seventh: one is unused (X.690 11.2.2). */
const CA_USAGE = der(TAG.bitString, Buffer.of(1, KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign));

/**
 * Signs the CA of a node (X5-20..X5-30): for leaves alone, of this trust domain alone, which the
 * name constraint says to validators that know nothing of SPIFFE. Read back by the other parser
 * before anybody gets it.
 */
export async function signNodeCa(wanted: NodeCa): Promise<CaCertificate> {
  const { issuer, trustDomain } = wanted;
  const tbs = encodeUnsigned(wanted);
  const { signatureAlgorithm } = KEY_TYPES[issuer.key.type];
  const signed = assembleCertificate(tbs, signatureAlgorithm, await issuer.key.sign(tbs));
  const certificate = readCaCertificate(signed, trustDomain);
  checkIssuedBy(certificate, issuer.certificate);
  return certificate;
}

function encodeUnsigned({ trustDomain, candidate, serial, validity, issuer }: NodeCa): Buffer {
  const subject = der(
    TAG.sequence,
    ...(trustDomain.length <= MAX_ORGANIZATION ? [nameOf(ORGANIZATION, trustDomain)] : []),
    nameOf(COMMON_NAME, nodeCommonName(candidate.node)),
  );
  const issuerKeyId = der(TAG.authorityKeyIdValue, issuer.certificate.keyId);
  const id = der(TAG.sanUri, Buffer.from(trustDomainId(trustDomain), 'latin1'));
  // RFC 5280 4.2.1.10: of a URI the host alone is compared, here as a whole.
  const host = der(TAG.sequence, der(URI, Buffer.from(trustDomain, 'latin1')));
  const extensions = der(
    TAG.sequence,
    extension(EXTENSION.basicConstraints, LEAVES_ALONE, CRITICAL),
    extension(EXTENSION.keyUsage, CA_USAGE, CRITICAL),
    extension(NAME_CONSTRAINTS, der(TAG.sequence, der(PERMITTED, host)), CRITICAL),
    extension(EXTENSION.subjectAltName, der(TAG.sequence, id)),
    extension(EXTENSION.subjectKeyId, der(TAG.octetString, candidate.keyId)),
    extension(EXTENSION.authorityKeyId, der(TAG.sequence, issuerKeyId)),
  );
  return der(
    TAG.sequence,
    ...[VERSION_3, der(TAG.integer, serial), KEY_TYPES[issuer.key.type].signatureAlgorithm],
    issuer.certificate.subject,
    der(TAG.sequence, time(validity.notBeforeMs), time(validity.notAfterMs)),
    ...[subject, candidate.spki, der(TAG.extensions, extensions)],
  );
}

function time(ms: number): Buffer {
  const out = Buffer.alloc(timeBytes(ms));
  writeTime(out, 0, ms);
  return out;
}

function extension(last: number, value: Buffer, critical: Uint8Array = Buffer.alloc(0)): Buffer {
  return der(TAG.sequence, extensionOid(last), critical, der(TAG.octetString, value));
}

function nameOf(type: Buffer, text: string): Buffer {
  return der(SET, der(TAG.sequence, type, der(UTF8_STRING, Buffer.from(text, 'utf8'))));
}
