import type { KeyObject } from 'node:crypto';
import { createAuthorityMaker, type AuthoritiesConfig, type MakerDeps } from './authority.ts';
import type { CaCertificate } from './ca-certificate.ts';
import { generatePrivateKey, localSigningKey } from './keys.ts';

/** An issuing CA for several daemons, in the three files of a TLS Secret. */
export interface CaFiles {
  readonly root: CaCertificate;
  readonly issuing: CaCertificate;
  /** PEM by file name: `tls.crt` the issuing CA, `tls.key` its key (PKCS#8), `ca.crt` the root. */
  readonly files: Readonly<Record<'tls.crt' | 'tls.key' | 'ca.crt', string>>;
}

/**
 * Makes a root and an issuing CA below it. The root's key is in no file and ends with this call:
 * nobody can sign with it any more, and both certificates are replaced together.
 */
export async function makeCaFiles(
  config: Omit<AuthoritiesConfig, 'caTtlMs'>,
  deps: MakerDeps,
): Promise<CaFiles> {
  let newest: KeyObject | undefined;
  const generate = async (type: AuthoritiesConfig['caKeyType']) => {
    newest = await generatePrivateKey(type);
    return localSigningKey(newest, type);
  };
  // As long as the root: there is no key to follow it up with.
  const make = createAuthorityMaker({ generate }, { ...config, caTtlMs: config.rootTtlMs }, deps);
  const root = await make(undefined);
  const issuing = await make(root);
  const key = newest?.export({ type: 'pkcs8', format: 'pem' }) ?? '';
  return {
    root: root.certificate,
    issuing: issuing.certificate,
    files: {
      'tls.crt': issuing.certificate.pem.toString('latin1'),
      'tls.key': key.toString('latin1'),
      'ca.crt': root.certificate.pem.toString('latin1'),
    },
  };
}
