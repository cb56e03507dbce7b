import { createPrivateKey, type KeyObject } from 'node:crypto';
import { errorText, IdentityError } from '../core/errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { Authority } from './authority.ts';
import type { CaCertificate } from './ca-certificate.ts';
import { KEY_TYPES } from './key-type.ts';
import { keyTypeOf, localSigningKey, type SigningKey } from './keys.ts';
import type { Validity } from './profile.ts';
import { caDoubts, caFault, nameFault, timeFault } from './upstream-checks.ts';
import { readCertificates, type UpstreamCertificate } from './upstream-certificates.ts';
import type { UpstreamFiles, UpstreamTexts } from './upstream-files.ts';

/** An issuing CA from elsewhere, found fit to sign for the trust domain. */
export interface UpstreamCa {
  readonly authority: Authority;
  /** The one that the chain ends at. */
  readonly root: CaCertificate;
  /** All that are to be trusted, that one among them; in the order of the file. */
  readonly roots: readonly CaCertificate[];
  /** What is not as it should be and does no harm now. */
  readonly doubts: readonly string[];
}

export interface UpstreamExpectation {
  readonly trustDomain: TrustDomain;
  readonly nowMs: number;
}

/**
 * Puts key, chain and root together. Throws `ERR_KEY_STORE` with the file and what was expected of
 * it. Wipes the key's text.
 */
export function parseUpstream(
  { certs, key: keyText, bundle }: UpstreamTexts,
  files: UpstreamFiles,
  want: UpstreamExpectation,
): UpstreamCa {
  const key = readKey(keyText, files.keyFile);
  const [issuing, ...between] = readCertificates(certs, files.certFile);
  if (!issuing) throw new TypeError('no certificate and no error');
  if (!key.spki.equals(issuing.spki)) {
    throw refused(
      files.keyFile,
      `it is not the key of ${issuing.subjectText}, the first certificate in ${files.certFile}`,
    );
  }
  const { roots, doubts } = trusted(readCertificates(bundle, files.bundleFile), files, want);
  const { chain, root } = climb(issuing, between, roots, files);
  const path = chain.includes(root) ? chain : [...chain, root];
  for (const [below, ca] of path.entries()) {
    const file = ca === root ? files.bundleFile : files.certFile;
    const fault = caFault(ca, { ...want, below, isRoot: ca === root });
    if (fault !== undefined) throw refused(file, `${ca.subjectText}: ${fault}`);
  }
  if (issuing.keyId.length === 0) {
    throw refused(files.certFile, 'RFC 5280 4.2.1.2: expected a subject key identifier');
  }
  const sent = chain.filter((ca) => ca !== root);
  return {
    authority: { certificate: issuing, key, chain: sent, validity: common(path) },
    root,
    roots,
    doubts: [...doubts, ...caDoubts(issuing).map((doubt) => `${files.certFile}: ${doubt}`)],
  };
}

function readKey(pem: Buffer, file: string): SigningKey {
  let key: KeyObject;
  try {
    // PKCS#8, and the older forms that openssl and cert-manager write by default.
    key = createPrivateKey({ key: pem, format: 'pem' });
  } catch (thrown) {
    throw refused(
      file,
      `expected one private key in PEM, without a passphrase (${errorText(thrown)})`,
    );
  } finally {
    pem.fill(0);
  }
  const type = keyTypeOf(key);
  if (type) return localSigningKey(key, type);
  throw refused(file, `expected a key of type ${Object.keys(KEY_TYPES).join(', ')}`);
}

/** The roots that can be trusted now. One that is past its time is left out: it verifies nothing. */
function trusted(
  all: readonly UpstreamCertificate[],
  { bundleFile }: UpstreamFiles,
  want: UpstreamExpectation,
): { roots: readonly UpstreamCertificate[]; doubts: readonly string[] } {
  const roots: UpstreamCertificate[] = [];
  const doubts: string[] = [];
  for (const root of all) {
    if (roots.some(({ der }) => der.equals(root.der))) continue;
    const fault = rootFault(root) ?? nameFault(root, want.trustDomain);
    if (fault !== undefined) throw refused(bundleFile, `${root.subjectText}: ${fault}`);
    const time = timeFault(root, want.nowMs);
    if (time === undefined) roots.push(root);
    else doubts.push(`${bundleFile}: ${root.subjectText} is left out: ${time}`);
  }
  if (roots.length > 0) return { roots, doubts };
  throw refused(bundleFile, `expected a root that is valid now: ${doubts.join('; ')}`);
}

function rootFault(root: UpstreamCertificate): string | undefined {
  if (!isIssuedBy(root, root)) return 'expected a self-signed root, this is signed by another';
  return caFault(root, { below: 0, isRoot: true });
}

/** From the issuing CA to the root that the chain ends at. */
function climb(
  issuing: UpstreamCertificate,
  between: readonly UpstreamCertificate[],
  roots: readonly UpstreamCertificate[],
  { certFile, bundleFile }: UpstreamFiles,
): { chain: readonly UpstreamCertificate[]; root: UpstreamCertificate } {
  const chain: UpstreamCertificate[] = [];
  for (let top = issuing; ;) {
    const same = roots.find(({ der }) => der.equals(top.der));
    if (same) return { chain: [...chain, same], root: same };
    chain.push(top);
    const root = roots.find((one) => isIssuedBy(top, one));
    if (root) return { chain, root };
    const above = between[chain.length - 1];
    if (!above) {
      throw refused(
        certFile,
        `the chain ends at ${top.subjectText}, expected its issuer ${top.issuerText} behind it or in ${bundleFile}`,
      );
    }
    if (!isIssuedBy(top, above)) {
      throw refused(
        certFile,
        `expected the issuer of ${top.subjectText} behind it, found ${above.subjectText}, which did not sign it`,
      );
    }
    top = above;
  }
}

function isIssuedBy(certificate: UpstreamCertificate, issuer: UpstreamCertificate): boolean {
  if (!certificate.issuer.equals(issuer.subject)) return false;
  try {
    return certificate.x509.verify(issuer.publicKey);
  } catch {
    return false;
  }
}

/** When all of a path is valid. */
function common(path: readonly CaCertificate[]): Validity {
  return {
    notBeforeMs: Math.max(...path.map(({ validity }) => validity.notBeforeMs)),
    notAfterMs: Math.min(...path.map(({ validity }) => validity.notAfterMs)),
  };
}

function refused(file: string, why: string): IdentityError {
  return new IdentityError('ERR_KEY_STORE', `cannot use ${file}: ${why}`);
}
