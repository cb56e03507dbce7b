import { X509Certificate, type KeyObject } from 'node:crypto';
import { errorText, IdentityError } from '../core/errors.ts';
import { readCertificate, type CertificateFacts } from '../identity/certificate.ts';
import { pemBytes } from '../identity/pem.ts';
import type { CaCertificate } from './ca-certificate.ts';

/** A certificate that somebody else has made; nothing of it is judged yet. */
export interface UpstreamCertificate extends CaCertificate {
  readonly facts: CertificateFacts;
  readonly x509: X509Certificate;
  readonly publicKey: KeyObject;
  /** The issuer for people. */
  readonly issuerText: string;
}

const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g;
const MARK = /-----BEGIN (?!CERTIFICATE-----)/;
const BEGIN = '-----BEGIN CERTIFICATE-----';
const MAX_CERTIFICATES = 64;

/**
 * The certificates of a PEM text, at least one; what stands between them is no matter. Throws
 * `ERR_KEY_STORE` for blocks of another kind and for what cannot be read.
 */
export function readCertificates(pem: Buffer, file: string): readonly UpstreamCertificate[] {
  const text = pem.toString('latin1');
  const blocks = text.match(BLOCK) ?? [];
  if (blocks.length === 0) throw refused(file, 'expected certificates in PEM, found none');
  if (MARK.test(text)) throw refused(file, 'expected certificates alone, found something else');
  if (blocks.length !== text.split(BEGIN).length - 1) {
    throw refused(file, `certificate ${blocks.length + 1} is cut short`);
  }
  if (blocks.length > MAX_CERTIFICATES) {
    throw refused(
      file,
      `it has ${blocks.length} certificates, at most ${MAX_CERTIFICATES} are expected`,
    );
  }
  return blocks.map((block, n) => {
    try {
      return readOneCertificate(block);
    } catch (thrown) {
      throw refused(file, `certificate ${n + 1} cannot be read: ${errorText(thrown)}`, thrown);
    }
  });
}

/** One certificate, PEM or DER; throws as the parsers do. */
export function readOneCertificate(bytes: string | Buffer): UpstreamCertificate {
  const x509 = new X509Certificate(bytes);
  const der = Buffer.from(x509.raw);
  const facts = readCertificate(der);
  const { subject, issuer, notBeforeMs, notAfterMs, publicKey } = facts;
  return {
    ...{ der, facts, x509, subject, issuer },
    // Asked for here, as it throws where the key is one that OpenSSL does not know.
    publicKey: x509.publicKey,
    pem: pemBytes('CERTIFICATE', der),
    subjectText: nameText(x509.subject),
    issuerText: nameText(x509.issuer),
    spki: publicKey,
    // Empty where there is none, which is a fault of a CA.
    keyId: facts.subjectKeyId ?? Buffer.alloc(0),
    serial: x509.serialNumber.toLowerCase(),
    validity: { notBeforeMs, notAfterMs },
  };
}

/** Node gives undefined for a name without parts, whatever its types say. */
function nameText(name: string | undefined): string {
  return name ? name.replaceAll('\n', ', ') : 'a certificate without a name';
}

function refused(file: string, why: string, cause?: unknown): IdentityError {
  return new IdentityError('ERR_KEY_STORE', `cannot use ${file}: ${why}`, { cause });
}
