import { IdentityError } from './errors.ts';

/** Tags of DER (X.690 8.1.2) that certificates and CRLs are made of. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  enumerated: 0x0a,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  version: 0xa0,
  crlExtensions: 0xa0,
  extensions: 0xa3,
  authorityKeyIdValue: 0x80,
  sanDns: 0x82,
  sanUri: 0x86,
  /** [0] and [1], constructed, where a type has parts by number. */
  part0: 0xa0,
  part1: 0xa1,
} as const;

/** One element: tag, length and the parts as content. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const header = Buffer.alloc(headerBytes(length));
  writeHeader(header, 0, tag, length);
  return Buffer.concat([header, ...parts]);
}

/** Bytes of an element's tag and length, for content of `length` bytes (below 64 KiB). */
export function headerBytes(length: number): number {
  return length < 0x80 ? 2 : length < 0x100 ? 3 : 4;
}

/** Writes tag and length at `at`; returns where the content goes. */
export function writeHeader(out: Buffer, at: number, tag: number, length: number): number {
  out[at] = tag;
  if (length < 0x80) {
    out[at + 1] = length;
    return at + 2;
  }
  if (length < 0x100) {
    out[at + 1] = 0x81;
    out[at + 2] = length;
    return at + 3;
  }
  if (length > 0xffff) throw new IdentityError('ERR_BUG', `DER element of ${length} bytes`);
  out[at + 1] = 0x82;
  out[at + 2] = length >> 8;
  out[at + 3] = length & 0xff;
  return at + 4;
}

/**
 * Walks DER without copying. Each step names the tag it expects; anything else, a length that is
 * not the shortest form or that leaves the parent throws `ERR_BAD_REQUEST`. Comparing goes byte by
 * byte in place: for a few dozen bytes that is cheaper than a view and a native call.
 */
export class DerReader {
  readonly bytes: Buffer;
  /** Where the next element starts. */
  start: number;
  readonly end: number;

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  get done(): boolean {
    return this.start === this.end;
  }

  /** The next element's tag, or undefined at the end. */
  get tag(): number | undefined {
    return this.start < this.end ? this.bytes[this.start] : undefined;
  }

  /** Steps over the next element and returns a reader of its content. */
  enter(tag: number): DerReader {
    const content = this.#step(tag);
    return new DerReader(this.bytes, content, this.start);
  }

  /** Steps over the next element and returns it whole; a view, not a copy. */
  element(tag: number): Buffer {
    const from = this.start;
    this.#step(tag);
    return this.bytes.subarray(from, this.start);
  }

  /** Steps over the next element and returns its content; a view, not a copy. */
  content(tag: number): Buffer {
    const content = this.#step(tag);
    return this.bytes.subarray(content, this.start);
  }

  /** Steps over the next element and returns its content as Latin-1, one character a byte. */
  text(tag: number): string {
    const content = this.#step(tag);
    return this.bytes.toString('latin1', content, this.start);
  }

  /** Steps over `expected` if it is what comes next, byte for byte. */
  skip(expected: Buffer): boolean {
    const { bytes, start } = this;
    if (expected.length > this.end - start) return false;
    for (let n = 0; n < expected.length; n++) if (bytes[start + n] !== expected[n]) return false;
    this.start = start + expected.length;
    return true;
  }

  /** Steps over the next element and says whether its content is `expected`. */
  skipContent(tag: number, expected: Buffer): boolean {
    const content = this.enter(tag);
    return content.skip(expected) && content.done;
  }

  /** Steps over the next element and says whether its content is `expected`, read as Latin-1. */
  skipText(tag: number, expected: string): boolean {
    const { bytes, start, end } = this.enter(tag);
    if (end - start !== expected.length) return false;
    for (let n = 0; n < expected.length; n++) {
      if (bytes[start + n] !== expected.charCodeAt(n)) return false;
    }
    return true;
  }

  /** Throws unless everything was read. */
  finish(): void {
    if (!this.done) throw malformed(`${this.end - this.start} bytes too many at ${this.start}`);
  }

  /** Reads tag and length, moves behind the element, returns where its content starts. */
  #step(tag: number): number {
    const { bytes, end } = this;
    const at = this.start;
    if (at + 2 > end) throw malformed(`it ends at ${at}`);
    if (bytes[at] !== tag) throw malformed(`tag ${bytes[at] ?? -1} instead of ${tag} at ${at}`);
    let content = at + 2;
    let length = bytes[at + 1] ?? 0;
    if (length >= 0x80) {
      const count = length - 0x80;
      if (count < 1 || count > 2 || content + count > end) throw malformed(`length at ${at}`);
      length = bytes[content] ?? 0;
      if (count === 2) length = length * 0x100 + (bytes[content + 1] ?? 0);
      if (length < (count === 1 ? 0x80 : 0x100)) throw malformed(`long length at ${at}`);
      content += count;
    }
    if (length > end - content) throw malformed(`element at ${at} leaves its parent`);
    this.start = content + length;
    return content;
  }
}

function malformed(what: string): IdentityError {
  return new IdentityError('ERR_BAD_REQUEST', `malformed DER: ${what}`);
}
