import type { TrustDomain } from '../identity/spiffe-id.ts';
import { createCaCertifier, type CertifierDeps } from './authority.ts';
import type { CaCertificate } from './ca-certificate.ts';
import type { KeyType } from './key-type.ts';
import { generatePrivateKey, localSigningKey } from './keys.ts';

/** An issuing CA for several daemons, in the three files of a TLS Secret. */
export interface CaFiles {
  readonly root: CaCertificate;
  readonly issuing: CaCertificate;
  /** PEM by file name: `tls.crt` the issuing CA, `tls.key` its key (PKCS#8), `ca.crt` the root. */
  readonly files: Readonly<Record<'tls.crt' | 'tls.key' | 'ca.crt', string>>;
}

/** What they are to be like; the lifetime in milliseconds. */
export interface CaFilesConfig {
  readonly trustDomain: TrustDomain;
  readonly caKeyType: KeyType;
  readonly rootTtlMs: number;
  /** Whether the CA carries the trust domain as its name constraint; not unless told. */
  readonly nameConstraint?: boolean;
}

/**
 * Makes a root and an issuing CA below it. The root's key is in no file and ends with this call:
 * nobody can sign with it any more, and both certificates are replaced together.
 */
export async function makeCaFiles(config: CaFilesConfig, deps: CertifierDeps): Promise<CaFiles> {
  const { trustDomain, caKeyType, rootTtlMs: ttlMs, nameConstraint = false } = config;
  const certify = createCaCertifier(trustDomain, nameConstraint, deps);
  const rootKey = localSigningKey(await generatePrivateKey(caKeyType), caKeyType);
  const root = await certify({ key: rootKey, ttlMs, issuer: undefined });
  const privateKey = await generatePrivateKey(caKeyType);
  const key = localSigningKey(privateKey, caKeyType);
  // As long as the root: there is no key to follow it up with.
  const issuing = await certify({ key, ttlMs, issuer: { certificate: root, key: rootKey } });
  return {
    root,
    issuing,
    files: {
      'tls.crt': issuing.pem.toString('latin1'),
      'tls.key': privateKey.export({ type: 'pkcs8', format: 'pem' }).toString('latin1'),
      'ca.crt': root.pem.toString('latin1'),
    },
  };
}
