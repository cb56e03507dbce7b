import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ForeignCa } from './upstream.ts';

export interface SignOptions {
  readonly days?: number;
  /** Lines of openssl's extension file. */
  readonly extensions?: readonly string[];
}

const USUAL = [
  'basicConstraints=critical,CA:true,pathlen:0',
  'keyUsage=critical,keyCertSign,cRLSign',
  'subjectKeyIdentifier=hash',
  'authorityKeyIdentifier=keyid',
  'subjectAltName=URI:spiffe://example.org',
];

const run = promisify(execFile);

/** Signs a PKCS#10 request (PEM) with a CA, by openssl; PEM. The event loop goes on meanwhile. */
export async function signRequest(
  pem: string,
  ca: ForeignCa,
  { days = 1, extensions = USUAL }: SignOptions = {},
): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'credence-signer-'));
  const path = (name: string) => join(folder, name);
  try {
    for (const [name, text] of Object.entries({
      'request.pem': pem,
      'ca.crt': ca.cert,
      'ca.key': ca.key,
      ext: extensions.join('\n'),
    })) {
      writeFileSync(path(name), text);
    }
    await run('openssl', [
      ...['x509', '-req', '-in', path('request.pem'), '-CA', path('ca.crt')],
      ...['-CAkey', path('ca.key'), '-days', String(days), '-extfile', path('ext')],
      ...['-out', path('out.crt')],
    ]);
    return readFileSync(path('out.crt'), 'utf8');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64');
export const fromBase64 = (text: unknown) => Buffer.from(String(text), 'base64').toString('latin1');
