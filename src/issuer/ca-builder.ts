import type { KeyUsageFlags } from '@peculiar/x509';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { trustDomainId } from '../identity/spiffe-id.ts';
import { checkIssuedBy, readCaCertificate, type CaCertificate } from './ca-certificate.ts';
import { DerReader, TAG } from '../core/der.ts';
import { EXTENSION } from '../identity/certificate.ts';
import { KEY_TYPES } from './key-type.ts';
import type { SigningKey } from './keys.ts';
import { nameConstraintsFor } from './name-constraints.ts';
import type { Validity } from './profile.ts';
import { subjectKeyId } from './subject-key-id.ts';
import { assembleCertificate } from './template.ts';
import { loadX509Library } from './x509-library.ts';

/** RFC 5280 appendix A: ub-organization-name. */
const MAX_ORGANIZATION = 64;
const NAME_CONSTRAINTS_OID = `2.5.29.${EXTENSION.nameConstraints}`;
/** Stands in for the signature until the signing key has made one; no one ever sees it. */
const PLACEHOLDER = new Uint8Array(64).fill(1);

/** A root when `issuer` is undefined, else an issuing CA that signs leaves alone. */
interface CaRequest {
  readonly trustDomain: TrustDomain;
  readonly key: SigningKey;
  readonly serial: Buffer;
  readonly validity: Validity;
  readonly issuer: { readonly certificate: CaCertificate; readonly key: SigningKey } | undefined;
  /** Whether an issuing CA carries the trust domain as its name constraint (X5-29). */
  readonly nameConstraint: boolean;
}

/**
 * Makes a signing certificate (X5-20..X5-30). The library writes it, the key wherever it lives
 * signs it, and the result is read back by the other parser before anybody gets it.
 */
export async function buildCaCertificate(request: CaRequest): Promise<CaCertificate> {
  const { issuer, key } = request;
  const signer = issuer?.key ?? key;
  const unsigned = await encodeUnsigned(request);
  const tbs = new DerReader(unsigned).enter(TAG.sequence).element(TAG.sequence);
  const { signatureAlgorithm } = KEY_TYPES[signer.type];
  const signed = assembleCertificate(tbs, signatureAlgorithm, await signer.sign(tbs));
  const certificate = readCaCertificate(signed, request.trustDomain);
  checkIssuedBy(certificate, issuer?.certificate ?? certificate);
  return certificate;
}

async function encodeUnsigned(request: CaRequest): Promise<Buffer> {
  const { trustDomain, key, serial, validity, issuer } = request;
  const x509 = await loadX509Library();
  const keyId = subjectKeyId(key.spki).toString('hex');
  // The key's identifier makes the name unique: who builds a chain by names finds one issuer.
  const role = issuer ? 'issuing CA' : 'root';
  const subject = new x509.Name([
    ...(trustDomain.length <= MAX_ORGANIZATION ? [{ O: [{ utf8String: trustDomain }] }] : []),
    { CN: [{ utf8String: `Credence ${role} ${keyId.slice(0, 16)}` }] },
  ]);
  const usage = (x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign) as KeyUsageFlags;
  const signerType = issuer?.key.type ?? key.type;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial.toString('hex'),
    subject,
    issuer: issuer ? new x509.Name(issuer.certificate.subject) : subject,
    notBefore: new Date(validity.notBeforeMs),
    notAfter: new Date(validity.notAfterMs),
    publicKey: new x509.PublicKey(key.spki),
    signature: PLACEHOLDER,
    signingAlgorithm: KEY_TYPES[signerType].webAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, issuer ? 0 : undefined, true),
      new x509.KeyUsagesExtension(usage, true),
      new x509.SubjectAlternativeNameExtension([
        { type: 'url', value: trustDomainId(trustDomain) },
      ]),
      new x509.SubjectKeyIdentifierExtension(keyId),
      // On the CA that signs leaves: what a root says of names some validators do not look at.
      ...(issuer && request.nameConstraint
        ? [new x509.Extension(NAME_CONSTRAINTS_OID, true, nameConstraintsFor(trustDomain))]
        : []),
      ...(issuer
        ? [new x509.AuthorityKeyIdentifierExtension(issuer.certificate.keyId.toString('hex'))]
        : []),
    ],
  });
  return Buffer.from(certificate.rawData);
}
