import { isUtf8 } from 'node:buffer';
import { IdentityError } from '../core/errors.ts';

/*
 * The part of the Protocol Buffers wire format that SDS needs. A decoder walks the fields it wants
 * and skips the rest without looking inside, so its depth is that of the code, never of the input:
 * groups, the one construct that has to be followed to be skipped, are refused.
 */

/** Wire types of the Protocol Buffers encoding. */
const VARINT = 0;
const FIXED64 = 1;
/** The wire type of texts, bytes and embedded messages. */
export const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

const REPLACEMENT = '\ufffd';

/**
 * Reads one message, field by field: `while (r.next()) …`. What the caller does not read of a field
 * is skipped by the following `next`. Every method throws `ERR_BAD_REQUEST` for bytes that are no
 * message; texts are copied out, so that nothing keeps the bytes alive.
 */
export class WireReader {
  /** Number of the field `next` stopped at. */
  field = 0;

  readonly #bytes: Buffer;
  #wireType = VARINT;
  #at = 0;
  #end: number;
  /** Whether the value of the current field still lies ahead. */
  #pending = false;
  /** Whether the last varint had bits above the 32nd. */
  #wide = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#end = bytes.byteLength;
  }

  /** Moves to the next field of the message; false at its end. */
  next(): boolean {
    if (this.#pending) this.#skip();
    if (this.#at >= this.#end) return false;
    const first = this.#bytes[this.#at] ?? 0;
    // One byte holds nearly every tag and length; a node has hundreds of both to step over.
    if (first >= 0x08 && first < 0x80) {
      this.field = first >>> 3;
      this.#wireType = first & 7;
      this.#at++;
    } else {
      const tag = this.#varint();
      this.field = tag >>> 3;
      this.#wireType = tag & 7;
      if (this.#wide || this.field === 0) throw malformed('an impossible field number', this.#at);
    }
    this.#pending = true;
    return true;
  }

  /** The low 32 bits of a varint, unsigned: also right for bool, and for int32 after `| 0`. */
  uint32(): number {
    this.#take(VARINT);
    return this.#varint();
  }

  bool(): boolean {
    this.#take(VARINT);
    return this.#varint() !== 0 || this.#wide;
  }

  /** Steps into an embedded message. Returns what `leave` needs to step out of it again. */
  enter(): number {
    const end = this.#lengthEnd();
    const outer = this.#end;
    this.#end = end;
    return outer;
  }

  /** Steps out of an embedded message that was read to its end. */
  leave(outer: number): void {
    this.#at = this.#end;
    this.#end = outer;
    this.#pending = false;
  }

  /** A text that something is decided on. Over `maxBytes` it throws `ERR_LIMIT` with both numbers. */
  text(what: string, maxBytes: number): string {
    const end = this.#lengthEnd();
    const at = this.#at;
    if (end - at > maxBytes) {
      throw new IdentityError(
        'ERR_LIMIT',
        `${what} has ${end - at} bytes, at most ${maxBytes} are allowed`,
      );
    }
    this.#at = end;
    const text = this.#bytes.toString('utf8', at, end);
    // A decoder that repairs would let two names become one; most texts are settled by the search.
    if (text.includes(REPLACEMENT) && !isUtf8(this.#bytes.subarray(at, end))) {
      throw malformed(`${what} that is not UTF-8`, at);
    }
    return text;
  }

  /** A text for people: cut to `maxBytes` and repaired, since Envoy cuts its own inside characters. */
  display(maxBytes: number): string {
    const end = this.#lengthEnd();
    const at = this.#at;
    this.#at = end;
    return this.#bytes.toString('utf8', at, Math.min(end, at + maxBytes));
  }

  /** Whether the bytes of the field are these; for keys, without making a string. */
  equals(expected: Uint8Array): boolean {
    const end = this.#lengthEnd();
    const at = this.#at;
    this.#at = end;
    return (
      end - at === expected.byteLength && this.#bytes.compare(expected, 0, undefined, at, end) === 0
    );
  }

  #skip(): void {
    this.#pending = false;
    switch (this.#wireType) {
      case LENGTH_DELIMITED:
        this.#at = this.#span();
        return;
      case VARINT:
        this.#varint();
        return;
      case FIXED64:
        this.#at = this.#within(8);
        return;
      case FIXED32:
        this.#at = this.#within(4);
        return;
      default:
        throw malformed('a group or an unknown wire type', this.#at);
    }
  }

  /** Where the value of the current, length-delimited field ends. */
  #lengthEnd(): number {
    this.#take(LENGTH_DELIMITED);
    return this.#span();
  }

  #take(wireType: number): void {
    if (!this.#pending || this.#wireType !== wireType) {
      throw malformed(`field ${this.field} with wire type ${this.#wireType}`, this.#at);
    }
    this.#pending = false;
  }

  #span(): number {
    const first = this.#at < this.#end ? (this.#bytes[this.#at] ?? 0) : 0x80;
    if (first < 0x80) {
      this.#at++;
      return this.#within(first);
    }
    const length = this.#varint();
    if (this.#wide) throw malformed('a length past its end', this.#at);
    return this.#within(length);
  }

  #within(length: number): number {
    const end = this.#at + length;
    if (end > this.#end) throw malformed('a length past its end', this.#at);
    return end;
  }

  #varint(): number {
    const bytes = this.#bytes;
    let at = this.#at;
    let value = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= this.#end) throw malformed('a number cut short', at);
      const byte = bytes[at++] ?? 0;
      if (shift < 28) value |= (byte & 0x7f) << shift;
      else if (shift === 28) {
        value |= (byte & 0x0f) << 28;
        high |= byte & 0x70;
      } else high |= byte & 0x7f;
      if (byte < 0x80) {
        this.#at = at;
        this.#wide = high !== 0;
        return value >>> 0;
      }
    }
    throw malformed('a number longer than ten bytes', at);
  }
}

function malformed(what: string, at: number): IdentityError {
  return new IdentityError('ERR_BAD_REQUEST', `not a protobuf message: ${what} at byte ${at}`);
}
