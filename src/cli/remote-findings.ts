import { createSecureContext } from 'node:tls';
import type { Config } from '../config.ts';
import { errorText, IdentityError, toIdentityError } from '../core/errors.ts';
import { readCertificates } from '../issuer/upstream-certificates.ts';
import { isOfThisUser, readSafeFile } from '../issuer/upstream-files.ts';
import type { VaultConfig } from '../vault/vault-config.ts';
import type { UpstreamFindings } from './upstream-findings.ts';

/** A file that an authority elsewhere is asked with. */
interface Wanted {
  readonly key: string;
  readonly path: string | undefined;
  /** What is secret in it; undefined: others may read it. */
  readonly secret?: string;
  readonly isPem?: boolean;
}

/**
 * Looks at the files that asking takes. Each may come later, and this user need not be the daemon's: what
 * is not there is doubtful, what is no good is wrong.
 */
export function remoteFindings({ issuer: { remote } }: Config): UpstreamFindings {
  if (remote?.type !== 'vault') return { warnings: [] };
  const warnings: { message: string; hint?: string | undefined }[] = [];
  for (const wanted of filesOf(remote.vault)) {
    try {
      examine(wanted);
    } catch (thrown) {
      const error = toIdentityError(thrown);
      const { message, hint } = error;
      if (!isOfThisUser(error) && !isAbsent(error)) return { error, warnings };
      warnings.push({ message: `${wanted.key}: ${message}; credence run needs it`, hint });
    }
  }
  const error = warnings.length === 0 ? pairFault(remote.vault) : undefined;
  return error ? { error, warnings } : { warnings };
}

function filesOf({ caFile, rootFile, auth }: VaultConfig): readonly Wanted[] {
  const at = (name: string) => `issuer.upstream.vault.${name}`;
  const files: readonly Wanted[] = [
    { key: at('ca_file'), path: caFile, isPem: true },
    { key: at('root_file'), path: rootFile, isPem: true },
  ];
  switch (auth.type) {
    case 'token':
      return [...files, { key: at('auth.token_file'), path: auth.tokenFile, secret: 'the token' }];
    case 'approle': {
      const path = auth.secretIdFile;
      return [...files, { key: at('auth.secret_id_file'), path, secret: 'the secret ID' }];
    }
    case 'kubernetes':
      return [...files, { key: at('auth.jwt_file'), path: auth.jwtFile }];
    case 'cert':
      return [
        ...files,
        { key: at('auth.cert_file'), path: auth.certFile, isPem: true },
        { key: at('auth.key_file'), path: auth.keyFile, secret: 'the key' },
      ];
  }
}

function examine({ path, secret, isPem = false }: Wanted): void {
  if (path === undefined) return;
  const bytes = readSafeFile(path, secret);
  try {
    if (isPem) readCertificates(bytes, path);
    else if (bytes.length === 0) throw new IdentityError('ERR_KEY_STORE', `${path} is empty`);
  } finally {
    bytes.fill(0);
  }
}

/** A certificate and a key that TLS does not take together. */
function pairFault({ auth }: VaultConfig): IdentityError | undefined {
  if (auth.type !== 'cert') return undefined;
  const key = readSafeFile(auth.keyFile, 'the key');
  try {
    createSecureContext({ cert: readSafeFile(auth.certFile), key });
    return undefined;
  } catch (thrown) {
    const why = `${auth.keyFile} does not go with ${auth.certFile}: ${errorText(thrown)}`;
    return new IdentityError('ERR_KEY_STORE', why);
  } finally {
    key.fill(0);
  }
}

const isAbsent = ({ cause }: IdentityError) =>
  cause instanceof Error && 'code' in cause && ['ENOENT', 'ENOTDIR'].includes(String(cause.code));
