import { IdentityError, toIdentityError } from '../core/errors.ts';
import { readCertificates, type UpstreamCertificate } from '../issuer/upstream-certificates.ts';

/** Four certificates with RSA keys of 4096 bits are 8 kB. */
const MAX_PEM_BYTES = 262_144;

/** The certificates of a PEM text; `ERR_ISSUER` that begins with what it is the text of. */
export function certificatesIn(pem: string, what: string): readonly UpstreamCertificate[] {
  if (pem.length > MAX_PEM_BYTES) {
    const most = `at most ${MAX_PEM_BYTES} are expected`;
    throw new IdentityError('ERR_ISSUER', `${what} has ${pem.length} bytes, ${most}`);
  }
  try {
    return readCertificates(Buffer.from(pem), what);
  } catch (thrown) {
    throw new IdentityError('ERR_ISSUER', toIdentityError(thrown).message, { cause: thrown });
  }
}

/** The same of what the API carries in base64. */
export function certificatesOf(base64: string, what: string): readonly UpstreamCertificate[] {
  return certificatesIn(Buffer.from(base64, 'base64').toString('latin1'), what);
}

/** What is wrong with a chain on its face; whoever signs with it verifies all of it. */
export function chainFault(
  chain: readonly UpstreamCertificate[],
  spki: Buffer,
): string | undefined {
  const [first] = chain;
  if (first?.spki.equals(spki)) return undefined;
  return `the first certificate is of another key: ${first?.subjectText ?? 'there is none'}`;
}

/** Whether a chain ends at one of the roots, or at what one of them has signed. */
export function isBelow(
  chain: readonly UpstreamCertificate[],
  roots: readonly UpstreamCertificate[],
): boolean {
  const last = chain.at(-1);
  return roots.some((root) => last && (root.der.equals(last.der) || isIssuedBy(last, root)));
}

/** Whether it is a CA that has signed itself: what can be trusted. */
export function isRoot(certificate: UpstreamCertificate): boolean {
  return certificate.facts.isCa && isIssuedBy(certificate, certificate);
}

function isIssuedBy(certificate: UpstreamCertificate, issuer: UpstreamCertificate): boolean {
  if (!certificate.issuer.equals(issuer.subject)) return false;
  try {
    return certificate.x509.verify(issuer.publicKey);
  } catch {
    return false;
  }
}
