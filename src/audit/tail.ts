import { readSync } from 'node:fs';
import { BEGINNING, MAX_LINE_BYTES, readRecord, sha256, type Head } from './chain.ts';

/** How a file ends that is to be written on. */
export interface Tail {
  /** Its last record; that of the beginning when there is none. */
  readonly head: Head;
  /** SHA-256 of a last line that a crash has cut short; undefined when there is none. */
  readonly part: string | undefined;
  /** Whether a line break is missing behind what there is. */
  readonly open: boolean;
}

const NEWLINE = 0x0a;

/**
 * Reads how a file of records ends, at most the length of two lines backwards; or says why its chain
 * cannot be continued.
 */
export function readTail(fd: number, size: number): Tail | string {
  const bytes = readEnd(fd, size, 2 * MAX_LINE_BYTES + 2);
  const isWhole = bytes.length === size;
  const lastBreak = bytes.lastIndexOf(NEWLINE);
  const rest = bytes.subarray(lastBreak + 1);
  if (rest.length > MAX_LINE_BYTES) return `its last line has more than ${MAX_LINE_BYTES} bytes`;
  // All of it is there but the line break: the crash came late.
  const last = rest.length > 0 ? readRecord(rest) : undefined;
  if (typeof last === 'object') return { head: last, part: undefined, open: true };
  const open = rest.length > 0;
  const part = open ? sha256(rest) : undefined;
  if (lastBreak < 0) return { head: BEGINNING, part, open };
  const before = lastBreak === 0 ? -1 : bytes.lastIndexOf(NEWLINE, lastBreak - 1);
  if (before < 0 && !isWhole) return `a line of it has more than ${MAX_LINE_BYTES} bytes`;
  const head = readRecord(bytes.subarray(before + 1, lastBreak));
  return typeof head === 'string'
    ? `its last whole line is not as it was: ${head}`
    : { head, part, open };
}

function readEnd(fd: number, size: number, most: number): Buffer {
  const bytes = Buffer.alloc(Math.min(size, most));
  let have = 0;
  while (have < bytes.length) {
    const read = readSync(fd, bytes, have, bytes.length - have, size - bytes.length + have);
    if (read === 0) break;
    have += read;
  }
  return bytes.subarray(0, have);
}
