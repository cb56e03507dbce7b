import { createPrivateKey, type KeyObject } from 'node:crypto';
import { errorText, IdentityError } from '../core/errors.ts';
import type { Authority } from './authority.ts';
import type { CaCertificate } from './ca-certificate.ts';
import { KEY_TYPES } from './key-type.ts';
import { keyTypeOf, localSigningKey, type SigningKey } from './keys.ts';
import { findPath, trustedRoots, type PathExpectation, type PathSources } from './ca-path.ts';
import { caDoubts } from './upstream-checks.ts';
import { readCertificates } from './upstream-certificates.ts';
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

/**
 * Puts key, chain and root together. Throws `ERR_KEY_STORE` with the file and what was expected of
 * it. Wipes the key's text.
 */
export function parseUpstream(
  { certs, key: keyText, bundle }: UpstreamTexts,
  files: UpstreamFiles,
  want: Required<PathExpectation>,
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
  const sources: PathSources = { chain: files.certFile, roots: files.bundleFile, refused };
  const { roots, doubts } = trustedRoots(readCertificates(bundle, files.bundleFile), sources, want);
  const { chain, root, validity } = findPath({ issuing, between, roots }, sources, want);
  return {
    authority: { certificate: issuing, key, chain, validity },
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

function refused(file: string, why: string): IdentityError {
  return new IdentityError('ERR_KEY_STORE', `cannot use ${file}: ${why}`);
}
