import { join } from 'node:path';
import { writeFileAtomic } from '../core/atomic-file.ts';
import { errorText } from '../core/errors.ts';
import { ensurePrivateFolder, readPrivateFile } from './private-files.ts';
import { unusable } from './unusable.ts';
import { readOneCertificate } from './upstream-certificates.ts';

/** A root that was trusted; times are wall clock. */
export interface RecordedRoot {
  readonly der: Buffer;
  /** Since when. */
  readonly sinceMs: number;
  /** Until when SVIDs of it may live: 0 for none, undefined while more may be signed. */
  readonly untilMs: number | undefined;
}

/** What a restart has to know of the roots before it. */
export interface RootRecord {
  readonly trustDomain: string;
  readonly bundleSequence: number;
  /** The longest life that was asked for an SVID. */
  readonly longestTtlMs: number;
  readonly roots: readonly RecordedRoot[];
}

/** Keeps it; `write` replaces it whole or throws `ERR_DISK`. */
export interface RootRecordStore {
  /** Undefined when there is none yet; `ERR_KEY_STORE` when it cannot be trusted. */
  read(): RootRecord | undefined;
  write(record: RootRecord): void;
}

const MAX_BYTES = 1_048_576;
const MAX_ROOTS = 256;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

export function createMemoryRootRecord(): RootRecordStore {
  let kept: RootRecord | undefined;
  return { read: () => kept, write: (record) => void (kept = record) };
}

/** Where it is. */
export const rootRecordPath = (dataDir: string) => join(dataDir, 'upstream-roots.json');

/** As `upstream-roots.json` in a folder of this user alone. */
export function createDiskRootRecord(dataDir: string): RootRecordStore {
  ensurePrivateFolder(dataDir);
  const path = rootRecordPath(dataDir);
  return {
    read() {
      const bytes = readPrivateFile(path, MAX_BYTES);
      if (!bytes) return undefined;
      try {
        return parseRootRecord(bytes.toString('utf8'));
      } catch (thrown) {
        throw unusable(path, errorText(thrown), thrown);
      }
    },
    write: (record) => writeFileAtomic(path, formatRootRecord(record), 0o600),
  };
}

export function formatRootRecord(record: RootRecord): string {
  const document = {
    version: 1,
    trust_domain: record.trustDomain,
    bundle_sequence: record.bundleSequence,
    longest_ttl_ms: record.longestTtlMs,
    roots: record.roots.map(({ der, sinceMs, untilMs }) => ({
      certificate: der.toString('base64'),
      since_ms: sinceMs,
      until_ms: untilMs ?? null,
    })),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** Throws a plain `Error` for anything that this version would not have written. */
export function parseRootRecord(text: string): RootRecord {
  const from = fields(JSON.parse(text));
  if (from['version'] !== 1) throw new Error('expected version 1');
  const trustDomain = from['trust_domain'];
  if (typeof trustDomain !== 'string') throw new Error('expected a trust_domain');
  const roots = from['roots'];
  if (!Array.isArray(roots) || roots.length > MAX_ROOTS) {
    throw new Error(`expected a list of at most ${MAX_ROOTS} roots`);
  }
  return {
    trustDomain,
    bundleSequence: whole(from['bundle_sequence'], 'bundle_sequence'),
    longestTtlMs: whole(from['longest_ttl_ms'], 'longest_ttl_ms'),
    roots: roots.map((root: unknown) => {
      const { certificate, since_ms: since, until_ms: until } = fields(root);
      if (typeof certificate !== 'string' || !BASE64.test(certificate)) {
        throw new Error('expected a certificate in base64');
      }
      return {
        // Read here, so that what is no certificate is a fault of the file.
        der: readOneCertificate(Buffer.from(certificate, 'base64')).der,
        // Absent where a version before this one wrote: it recorded none that was new.
        sinceMs: since === undefined ? 0 : whole(since, 'since_ms'),
        untilMs: until === null ? undefined : whole(until, 'until_ms'),
      };
    }),
  };
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  throw new Error('expected an object');
}

function whole(value: unknown, name: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error(`expected ${name} to be a whole number`);
}
