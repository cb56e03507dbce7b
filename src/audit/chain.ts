import { hash } from 'node:crypto';

/** Where a chain has come to: its last record. */
export interface Head {
  readonly seq: number;
  /** SHA-256 in lower-case hex. */
  readonly hash: string;
}

/** What the first record of a chain follows. */
export const BEGINNING: Head = { seq: 0, hash: '0'.repeat(64) };

/** The form of records; another one is another number. */
export const RECORD_VERSION = 1;

/** No record is longer; what is cut short is looked at up to this length as well. */
export const MAX_LINE_BYTES = 65_536;

/** How every record ends. */
const TAIL = /,"prev":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"\}$/;
const TAIL_CHARS = 149;
/** What is not hashed: the hash itself, and what closes the record behind it. */
const HASH_CHARS = 75;

/** Of bytes, or of a text that is ASCII. */
export function sha256(data: Uint8Array | string): string {
  return hash('sha256', data, 'hex');
}

/**
 * Ends a record so that it hangs on the one before: the hash is of all that stands before it in the
 * line, byte by byte, so that nobody needs a parser to compute it again.
 *
 * @param opened a JSON object without its closing brace; ASCII.
 */
export function seal(opened: string, { seq, hash: before }: Head): { line: string; head: Head } {
  const hashed = `${opened},"prev":"${before}"`;
  const own = sha256(hashed);
  return { line: `${hashed},"hash":"${own}"}\n`, head: { seq: seq + 1, hash: own } };
}

/** What the chain needs to know of a record. */
export interface ChainRecord extends Head {
  readonly prev: string;
  readonly event: string;
  readonly time: string;
  /** SHA-256 of the line before, which a crash has cut short; undefined where there is none. */
  readonly resumed: string | undefined;
}

/** A line as a record whose hash is right, or what is wrong with it. */
export function readRecord(line: Uint8Array): ChainRecord | string {
  if (line.length > MAX_LINE_BYTES) return `it has more than ${MAX_LINE_BYTES} bytes`;
  const bytes = Buffer.from(line.buffer, line.byteOffset, line.length);
  const end = TAIL.exec(bytes.toString('latin1', Math.max(line.length - TAIL_CHARS, 0)));
  const [, prev, stated] = end ?? [];
  if (prev === undefined || stated === undefined) return 'it is no record, or it was cut short';
  if (sha256(bytes.subarray(0, line.length - HASH_CHARS)) !== stated) {
    return 'it was changed: its hash is not that of its content';
  }
  return readFields(bytes.toString('utf8'), prev, stated);
}

function readFields(text: string, prev: string, own: string): ChainRecord | string {
  const fields = parseObject(text);
  if (!fields) return 'it is not JSON';
  const { v, seq, event, time, resumed } = fields;
  if (v !== RECORD_VERSION) return `its version is not ${RECORD_VERSION}`;
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 1) return 'it has no seq';
  if (typeof event !== 'string' || typeof time !== 'string') return 'it has no event or time';
  if (resumed !== undefined && typeof resumed !== 'string') return 'its resumed is not a text';
  return { seq, hash: own, prev, event, time, resumed };
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
