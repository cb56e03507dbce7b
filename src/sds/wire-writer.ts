import { IdentityError } from '../core/errors.ts';
import { LENGTH_DELIMITED } from './wire.ts';

/** Fields below 16 have a tag of one byte, and all that is written here is below 16. */
const TAG_BYTES = 1;

/** Bytes that a length-delimited field takes whose content has `length` bytes. */
export function fieldSize(length: number): number {
  let size = TAG_BYTES + 1 + length;
  for (let rest = length; rest >= 0x80; rest >>>= 7) size++;
  return size;
}

/** Writes a message into a buffer of exactly its size; `done` throws `ERR_BUG` if it is not. */
export class WireWriter {
  readonly #out: Buffer;
  #at = 0;

  constructor(out: Buffer) {
    this.#out = out;
  }

  /** Begins a length-delimited field; its content is what is written next. */
  open(field: number, length: number): this {
    const out = this.#out;
    out[this.#at++] = (field << 3) | LENGTH_DELIMITED;
    let rest = length;
    for (; rest >= 0x80; rest >>>= 7) out[this.#at++] = (rest & 0x7f) | 0x80;
    out[this.#at++] = rest;
    return this;
  }

  /** A whole field of bytes. */
  bytes(field: number, content: Uint8Array): this {
    return this.open(field, content.byteLength).raw(content);
  }

  /** A whole field of text, whose `size` in bytes the caller already had to know. */
  text(field: number, content: string, size: number): this {
    this.open(field, size);
    // `write` does not complain when it runs out of room.
    if (this.#out.write(content, this.#at) !== size)
      throw mismatch(size, Buffer.byteLength(content));
    this.#at += size;
    return this;
  }

  /** Bytes as they are: fields that were encoded before. */
  raw(content: Uint8Array): this {
    this.#out.set(content, this.#at);
    this.#at += content.byteLength;
    return this;
  }

  /** The full buffer. */
  done(): Buffer {
    if (this.#at !== this.#out.byteLength) throw mismatch(this.#out.byteLength, this.#at);
    return this.#out;
  }
}

function mismatch(expected: number, actual: number): IdentityError {
  return new IdentityError('ERR_BUG', `${expected} bytes were to be encoded, not ${actual}`);
}
