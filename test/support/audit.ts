import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { openAudit, type Audit, type AuditDeps } from '../../src/audit/audit.ts';
import { Verifier, type Verdict, type VerifyOptions } from '../../src/audit/verify.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeLogger } from './issuer.ts';

/** A record as it was written. */
export interface AuditRecord {
  readonly seq: number;
  readonly time: string;
  readonly event: string;
  readonly prev: string;
  readonly hash: string;
  readonly [field: string]: unknown;
}

/** Where one test keeps records, and what it sees of the writer. */
export interface AuditPlace {
  readonly folder: string;
  readonly path: string;
  readonly clock: FakeClock;
  readonly log: FakeLogger;
  /** Events that were recorded; failures. */
  readonly counted: string[];
  readonly open: (more?: Partial<AuditDeps>) => Audit;
}

/** A place for records that ends with the test. */
export function auditPlace(t: TestContext): AuditPlace {
  const folder = mkdtempSync(join(tmpdir(), 'credence-audit-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'audit.jsonl');
  const clock = new FakeClock();
  const log = new FakeLogger();
  const counted: string[] = [];
  const metrics = {
    recorded: (event: string) => void counted.push(event),
    failed: () => void counted.push('failure'),
  };
  const writer = { version: '1' };
  const deps = { clock, log, metrics, writer };
  return {
    folder,
    path,
    clock,
    log,
    counted,
    open: (more) => openAudit(path, { ...deps, ...more }),
  };
}

/** The records of a file, of a chain or of lines. */
export function recordsIn(text: string): readonly AuditRecord[] {
  const lines = text.split('\n').filter((line) => line.endsWith('}'));
  return lines.map((line) => JSON.parse(line) as AuditRecord);
}

export const recordsOf = (path: string) => recordsIn(readFileSync(path, 'utf8'));

/** What `credence audit verify` finds in files. */
export function verifyFiles(paths: readonly string[], options: VerifyOptions = {}): Verdict {
  return verifyTexts(Object.fromEntries(paths.map((path) => [path, readFileSync(path)])), options);
}

/** The same of texts by name. */
export function verifyTexts(
  texts: Readonly<Record<string, Uint8Array | string>>,
  options: VerifyOptions = {},
): Verdict {
  const verifier = new Verifier(options);
  for (const [name, text] of Object.entries(texts)) {
    verifier.begin(name);
    verifier.take(typeof text === 'string' ? Buffer.from(text) : text);
    verifier.end();
  }
  return verifier.verdict();
}
