import { X509Certificate, type KeyObject } from 'node:crypto';
import { errorText, IdentityError } from '../core/errors.ts';
import type { X509Authority } from '../identity/bundle.ts';
import { KEY_USAGE, readCertificate } from '../identity/certificate.ts';
import { isTakenKey, TAKEN_KEYS } from '../identity/public-key.ts';

/** One trust domain has few roots; a document with more is none of this kind. */
export const MAX_ROOTS = 64;

/**
 * The root of another trust domain, found to be one that validators take. Throws `ERR_BAD_REQUEST`
 * with what was expected. Its time is not looked at: bundles are kept beyond the end of a root.
 */
export function readRoot(der: Buffer): X509Authority {
  let certificate: X509Certificate;
  let facts;
  let publicKey: KeyObject;
  try {
    certificate = new X509Certificate(der);
    facts = readCertificate(certificate.raw);
    publicKey = certificate.publicKey;
  } catch (thrown) {
    throw bad(`it cannot be read: ${errorText(thrown)}`);
  }
  // RFC 5280 4.2.1.3: without the extension every use is allowed; old roots have none.
  const mayCertify = facts.keyUsage === 0 || (facts.keyUsage & KEY_USAGE.keyCertSign) !== 0;
  if (!facts.isCa) throw bad('expected a CA (basicConstraints with cA true)');
  if (!mayCertify) throw bad('expected keyCertSign in its key usage');
  if (!facts.issuer.equals(facts.subject) || !certificate.verify(publicKey)) {
    throw bad('expected a root that is signed by itself');
  }
  if (!isTakenKey(publicKey)) throw bad(`expected ${TAKEN_KEYS}`);
  // Copied: what follows the certificate in `der` is not part of it.
  return { der: Buffer.from(certificate.raw), notAfterMs: facts.notAfterMs };
}

/** Each once, in the order of their bytes: the same roots are the same bundle, however written. */
export function inOrder(roots: readonly X509Authority[]): readonly X509Authority[] {
  const byBytes = new Map(roots.map((root) => [Buffer.from(root.der).toString('hex'), root]));
  const sorted = [...byBytes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, root]) => root);
  if (sorted.length <= MAX_ROOTS) return sorted;
  throw bad(`it has ${sorted.length} roots, at most ${MAX_ROOTS} are expected`);
}

export function bad(why: string): IdentityError {
  return new IdentityError('ERR_BAD_REQUEST', why);
}
