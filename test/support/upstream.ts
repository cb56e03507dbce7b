import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { openssl } from './issuer.ts';

/** A CA as somebody else's tools make it; texts are PEM. */
export interface ForeignCa {
  readonly cert: string;
  readonly key: string;
}

export interface ForeignCaOptions {
  readonly name: string;
  /** Absent: self-signed. */
  readonly issuer?: ForeignCa;
  /** As openssl's `-addext`; replaces the usual ones of a CA. */
  readonly extensions?: readonly string[];
  readonly days?: number;
  /** As openssl's `-newkey`. */
  readonly newKey?: readonly string[];
  readonly digest?: string;
}

const USUAL = ['basicConstraints=critical,CA:true', 'keyUsage=critical,keyCertSign,cRLSign'];

/** The same in a temporary folder, until the tests of the file or suite are over. */
export function foreignCas() {
  const folder = mkdtempSync(join(tmpdir(), 'credence-upstream-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return { folder, make: createForeignCas(folder) };
}

/** Makes CAs with openssl, in a folder for its files. */
export function createForeignCas(folder: string): (options: ForeignCaOptions) => ForeignCa {
  let count = 0;
  return ({ name, issuer, extensions = USUAL, days = 30, newKey, digest = 'sha256' }) => {
    const at = join(folder, `ca-${count++}`);
    mkdirSync(at);
    const path = (file: string) => join(at, file);
    const signer: string[] = [];
    if (issuer) {
      writeFileSync(path('issuer.crt'), issuer.cert);
      writeFileSync(path('issuer.key'), issuer.key);
      signer.push('-CA', path('issuer.crt'), '-CAkey', path('issuer.key'));
    }
    // Without a configuration of the machine's, whose extensions come on top.
    writeFileSync(path('empty.cnf'), '[req]\ndistinguished_name=dn\n[dn]\n');
    openssl([
      ...['req', '-x509', '-config', path('empty.cnf'), '-nodes', `-${digest}`],
      ...['-newkey', ...(newKey ?? ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'])],
      ...['-subj', `/CN=${name}`, '-days', String(days), ...signer],
      ...extensions.flatMap((extension) => ['-addext', extension]),
      ...['-keyout', path('ca.key'), '-out', path('ca.crt')],
    ]);
    return {
      cert: readFileSync(path('ca.crt'), 'utf8'),
      key: readFileSync(path('ca.key'), 'utf8'),
    };
  };
}

/** A Secret as the kubelet mounts it: files are links into a folder that is swapped as a whole. */
export interface MountedSecret {
  readonly path: string;
  /** What stands in a configuration. */
  readonly settings: {
    readonly type: 'disk';
    readonly cert_file: string;
    readonly key_file: string;
    readonly bundle_file: string;
  };
  readonly replace: (contents: SecretContents) => void;
}

/** In cert-manager's shape. */
export interface SecretContents {
  readonly cert: string;
  readonly key: string;
  readonly bundle: string;
}

/** Mounts it at `path`, with a mode as `fsGroup` makes it. */
export function mountSecret(path: string, first: SecretContents, mode = 0o440): MountedSecret {
  mkdirSync(path, { recursive: true });
  let count = 0;
  let before: string | undefined;
  const replace = ({ cert, key, bundle }: SecretContents) => {
    const folder = `..2026_${++count}`;
    mkdirSync(join(path, folder));
    for (const [name, text] of Object.entries({
      'tls.crt': cert,
      'tls.key': key,
      'ca.crt': bundle,
    })) {
      writeFileSync(join(path, folder, name), text, { mode });
    }
    symlinkSync(folder, join(path, '..data_tmp'));
    renameSync(join(path, '..data_tmp'), join(path, '..data'));
    if (before !== undefined) rmSync(join(path, before), { recursive: true });
    before = folder;
  };
  replace(first);
  const files = ['tls.crt', 'tls.key', 'ca.crt'].map((name) => join(path, name));
  for (const name of ['tls.crt', 'tls.key', 'ca.crt']) {
    symlinkSync(join('..data', name), join(path, name));
  }
  const [cert_file = '', key_file = '', bundle_file = ''] = files;
  return { path, settings: { type: 'disk', cert_file, key_file, bundle_file }, replace };
}
