import { errorText, IdentityError } from '../core/errors.ts';
import { readOneCertificate, type UpstreamCertificate } from '../issuer/upstream-certificates.ts';
import type { IssuedCa } from '../issuer/upstream-authority.ts';
import { texts, type Fields } from './answer.ts';

/** CAs between an issuing CA and its root; more are a loop or a joke. */
const MAX_CHAIN = 8;
/** Certificates of others that may come with it: those that sign each other crosswise as well. */
const MAX_OTHERS = 32;
const BLOCK = /^\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----\s*$/;

/**
 * Reads the answer of `sign-intermediate`: the CA, those above it in order, and the root they lead to.
 * Older versions leave the CA itself out of `ca_chain`, and where CAs have signed each other the list
 * is no path. `known` are roots that the mount need not have. Throws `ERR_ISSUER`.
 */
export function readIssued(data: Fields, known: readonly UpstreamCertificate[]): IssuedCa {
  const issuing = read(data['certificate'], 'certificate');
  const others = [...texts(data['ca_chain']), ...texts([data['issuing_ca']])];
  if (others.length > MAX_OTHERS) {
    throw bad(`ca_chain has ${others.length} certificates, at most ${MAX_OTHERS} are expected`);
  }
  const above = [...others.map((pem, n) => read(pem, `ca_chain ${n + 1}`)), ...known];
  const path = climb(issuing, above);
  const root = path.at(-1) ?? issuing;
  return { chain: path.map(({ der }) => der), roots: [root.der] };
}

function climb(
  issuing: UpstreamCertificate,
  above: readonly UpstreamCertificate[],
): readonly UpstreamCertificate[] {
  if (isRoot(issuing)) throw bad(`${issuing.subjectText} has signed itself`);
  const path = [issuing];
  for (let top = issuing; !isRoot(top);) {
    const signers = above.filter((one) => isSignedBy(top, one) && !isIn(path, one));
    // A root first: what has signed it crosswise is for those who do not trust it yet.
    const next = signers.find(isRoot) ?? signers[0];
    if (!next) throw incomplete(top);
    if (path.length > MAX_CHAIN) throw bad(`more than ${MAX_CHAIN} CAs are above it`);
    path.push(next);
    top = next;
  }
  return path;
}

const isIn = (path: readonly UpstreamCertificate[], one: UpstreamCertificate) =>
  path.some(({ der }) => der.equals(one.der));

const isRoot = (one: UpstreamCertificate) => isSignedBy(one, one);

function isSignedBy(one: UpstreamCertificate, by: UpstreamCertificate): boolean {
  try {
    return one.issuer.equals(by.subject) && one.x509.verify(by.publicKey);
  } catch {
    // A key of a kind that signs nothing.
    return false;
  }
}

function read(pem: unknown, what: string): UpstreamCertificate {
  if (typeof pem !== 'string' || !BLOCK.test(pem)) {
    throw bad(`expected one certificate in PEM as ${what}`);
  }
  try {
    return readOneCertificate(pem.trim());
  } catch (thrown) {
    throw bad(`${what} cannot be read: ${errorText(thrown)}`);
  }
}

function incomplete(top: UpstreamCertificate): IdentityError {
  return new IdentityError(
    'ERR_ISSUER',
    `the chain of the answer ends at ${top.subjectText}: its issuer ${top.issuerText} is not there, or did not sign it`,
    { hint: 'import the root into the mount, or name it in issuer.upstream.vault.root_file' },
  );
}

function bad(why: string): IdentityError {
  return new IdentityError('ERR_ISSUER', `the answer of sign-intermediate is no good: ${why}`);
}
