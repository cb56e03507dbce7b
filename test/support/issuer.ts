import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { FakeClock } from './fake-clock.ts';
import { systemClock } from '../../src/core/clock.ts';
import { systemRandom } from '../../src/core/random.ts';
import type { LogFields, Logger } from '../../src/core/log.ts';
import { pemBytes } from '../../src/identity/pem.ts';
import { parseSpiffeId, parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import type { X509Svid } from '../../src/identity/svid.ts';
import type { Issuer, IssuerConfig, IssuerDeps } from '../../src/issuer/issuer.ts';

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
export const WEB = parseSpiffeId('spiffe://example.org/web');

/** A new folder that ends with the test. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'credence-issuer-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function issuerConfig(overrides: Partial<IssuerConfig> = {}): IssuerConfig {
  return {
    trustDomain: parseTrustDomain('example.org'),
    dataDir: '/nonexistent',
    keyType: 'ec-p256',
    caKeyType: 'ec-p256',
    caTtlMs: DAY_MS,
    rootTtlMs: 365 * DAY_MS,
    x509SvidTtlMs: HOUR_MS,
    crlTtlMs: DAY_MS,
    keyManager: 'memory',
    caRotation: { prepareLeft: 0.5, activateLeft: 0.1667, jitter: 0.1, ackTimeoutMs: 300_000 },
    newRootDelayMs: 120_000,
    nameConstraint: false,
    ...overrides,
  };
}

/** A logger that remembers, as `level message`. */
export class FakeLogger implements Logger {
  readonly lines: { level: string; message: string; fields: LogFields }[] = [];
  debug = (fields: LogFields, message: string) => this.#add('debug', fields, message);
  info = (fields: LogFields, message: string) => this.#add('info', fields, message);
  warn = (fields: LogFields, message: string) => this.#add('warn', fields, message);
  error = (fields: LogFields, message: string) => this.#add('error', fields, message);
  child = () => this;

  #add(level: string, fields: LogFields, message: string): void {
    this.lines.push({ level, message, fields });
  }

  count(level: string, part: string): number {
    return this.lines.filter((line) => line.level === level && line.message.includes(part)).length;
  }
}

/** Fakes for one issuer; the clock starts at the machine's time, where openssl looks too. */
export function issuerDeps(startMs = systemClock.now()): IssuerDeps & {
  clock: FakeClock;
  log: FakeLogger;
} {
  return { clock: new FakeClock(startMs), random: systemRandom, log: new FakeLogger() };
}

/** Runs openssl and returns what it says on both streams; throws with that when it fails. */
export function openssl(args: readonly string[], input: Uint8Array | string = ''): string {
  const { status, stdout, stderr, error } = spawnSync('openssl', args, { input, encoding: 'utf8' });
  if (error) {
    throw new Error('these tests compare with openssl: install it (apt-get install openssl)', {
      cause: error,
    });
  }
  if (status !== 0) throw new Error(`openssl ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout + stderr;
}

/** `openssl verify` of an SVID's chain against the issuer's bundle; throws when it is refused. */
export function opensslVerify(t: TestContext, issuer: Issuer, svid: X509Svid, atMs?: number): void {
  const folder = temporaryFolder(t);
  const chain = join(folder, 'chain.pem');
  const roots = join(folder, 'roots.pem');
  writeFileSync(chain, svid.chainPem);
  writeFileSync(roots, pemOf(issuer.bundle().x509Authorities.map((root) => root.der)));
  const time = atMs === undefined ? [] : ['-attime', String(Math.floor(atMs / 1000))];
  const strict = ['-x509_strict', '-purpose', 'sslserver', '-CAfile', roots, '-untrusted', chain];
  openssl(['verify', ...time, ...strict, chain]);
  openssl([
    'verify',
    ...time,
    '-purpose',
    'sslclient',
    '-CAfile',
    roots,
    '-untrusted',
    chain,
    chain,
  ]);
}

function pemOf(certificates: readonly Uint8Array[]): Buffer {
  return Buffer.concat(certificates.map((der) => pemBytes('CERTIFICATE', der)));
}
