import { IdentityError } from '../core/errors.ts';

/**
 * The part of the D-Bus protocol that questions with texts and numbers and answers with one text
 * need (D-Bus Specification, "Message Protocol").
 */
export interface MethodCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly args: readonly (string | number)[];
}

/** What matters of a message that came in. */
export interface Message {
  readonly type: 'return' | 'error' | 'other';
  /** 0 when it is no answer. */
  readonly replyTo: number;
  /** Empty when it is no error. */
  readonly errorName: string;
  /** The first value of its body when that is a text or an object path, also within a variant. */
  readonly text: string | undefined;
}

/** The fixed part of a message; the rest says how long it is. */
export const HEAD_BYTES = 16;
/** Of any message; the specification's. */
const MAX_MESSAGE = 2 ** 27;
const MAX_FIELDS = 2 ** 26;

const LITTLE = 0x6c;
const BIG = 0x42;
const VERSION = 1;
const METHOD_CALL = 1;
const TYPES: Readonly<Record<number, Message['type']>> = { 2: 'return', 3: 'error' };
/** Codes of header fields. */
const FIELD = {
  path: 1,
  interface: 2,
  member: 3,
  error: 4,
  reply: 5,
  destination: 6,
  signature: 8,
};

/** A method call, whose numbers are unsigned and have 32 bits. */
export function encodeCall(call: MethodCall, serial: number): Buffer {
  const body = new Writer();
  for (const arg of call.args) {
    if (typeof arg === 'number') body.uint32(arg);
    else body.text(arg);
  }
  const fields = new Writer();
  const signature = call.args.map((arg) => (typeof arg === 'number' ? 'u' : 's')).join('');
  fields.field(FIELD.path, 'o', call.path);
  fields.field(FIELD.interface, 's', call.interface);
  fields.field(FIELD.member, 's', call.member);
  fields.field(FIELD.destination, 's', call.destination);
  if (signature !== '') fields.field(FIELD.signature, 'g', signature);

  const head = Buffer.alloc(HEAD_BYTES);
  head.set([LITTLE, METHOD_CALL, 0, VERSION]);
  head.writeUInt32LE(body.bytes, 4);
  head.writeUInt32LE(serial, 8);
  head.writeUInt32LE(fields.bytes, 12);
  // The header ends on a multiple of eight, and its fixed part is one.
  fields.align(8);
  return Buffer.concat([head, fields.all(), body.all()]);
}

/** How many bytes a message has, by its first 16. Throws `ERR_ATTESTATION` when it is none. */
export function messageBytes(head: Buffer): number {
  const read = new Reader(head);
  const body = read.uint32At(4);
  const fields = read.uint32At(12);
  const bytes = HEAD_BYTES + Math.ceil(fields / 8) * 8 + body;
  if (head[3] !== VERSION || fields > MAX_FIELDS || bytes > MAX_MESSAGE) throw malformed();
  return bytes;
}

/** Reads a whole message. Throws `ERR_ATTESTATION` when it is malformed. */
export function decodeMessage(bytes: Buffer): Message {
  if (bytes.length < HEAD_BYTES || messageBytes(bytes) !== bytes.length) throw malformed();
  const type = TYPES[bytes[1] ?? 0];
  // Signals and calls may be anybody's, and carry anything.
  if (!type) return { type: 'other', replyTo: 0, errorName: '', text: undefined };
  const read = new Reader(bytes);
  const end = HEAD_BYTES + read.uint32At(12);
  const texts = new Map<number, string>();
  let replyTo = 0;
  read.at = HEAD_BYTES;
  while (read.at < end) {
    read.align(8);
    const code = read.byte();
    const kind = read.signature();
    if (kind === 'u') {
      const value = read.uint32();
      if (code === FIELD.reply) replyTo = value;
    } else if (kind === 's' || kind === 'o') texts.set(code, read.text());
    else if (kind === 'g') texts.set(code, read.signature());
    else throw malformed();
  }
  if (read.at !== end) throw malformed();
  read.align(8);
  return {
    type,
    replyTo,
    errorName: texts.get(FIELD.error) ?? '',
    text: firstText(read, texts.get(FIELD.signature) ?? ''),
  };
}

function firstText(read: Reader, signature: string): string | undefined {
  const type = signature.startsWith('v') ? read.signature() : signature.slice(0, 1);
  return type === 's' || type === 'o' ? read.text() : undefined;
}

class Writer {
  readonly #parts: Buffer[] = [];
  bytes = 0;

  all(): Buffer {
    return Buffer.concat(this.#parts);
  }

  align(to: number): void {
    this.#put(Buffer.alloc((to - (this.bytes % to)) % to));
  }

  uint32(value: number): void {
    this.align(4);
    const part = Buffer.alloc(4);
    part.writeUInt32LE(value);
    this.#put(part);
  }

  text(value: string): void {
    this.uint32(Buffer.byteLength(value));
    this.#put(Buffer.from(`${value}\0`));
  }

  signature(value: string): void {
    this.#put(Buffer.from([value.length]));
    this.#put(Buffer.from(`${value}\0`));
  }

  field(code: number, type: 'o' | 's' | 'g', value: string): void {
    this.align(8);
    this.#put(Buffer.from([code]));
    this.signature(type);
    if (type === 'g') this.signature(value);
    else this.text(value);
  }

  #put(part: Buffer): void {
    this.#parts.push(part);
    this.bytes += part.length;
  }
}

/** Reads within the bytes of one message; what would reach beyond them is malformed. */
class Reader {
  at = 0;
  readonly #bytes: Buffer;
  readonly #little: boolean;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    if (bytes[0] !== LITTLE && bytes[0] !== BIG) throw malformed();
    this.#little = bytes[0] === LITTLE;
  }

  align(to: number): void {
    this.at = Math.ceil(this.at / to) * to;
  }

  byte(): number {
    const from = this.#take(1);
    return this.#bytes.readUInt8(from);
  }

  uint32(): number {
    this.align(4);
    return this.uint32At(this.#take(4));
  }

  uint32At(at: number): number {
    if (at + 4 > this.#bytes.length) throw malformed();
    return this.#little ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at);
  }

  text(): string {
    return this.#terminated(this.uint32());
  }

  signature(): string {
    return this.#terminated(this.byte());
  }

  #terminated(length: number): string {
    const from = this.#take(length + 1);
    if (this.#bytes[from + length] !== 0) throw malformed();
    return this.#bytes.toString('utf8', from, from + length);
  }

  #take(length: number): number {
    const from = this.at;
    if (from + length > this.#bytes.length) throw malformed();
    this.at = from + length;
    return from;
  }
}

function malformed(): IdentityError {
  return new IdentityError('ERR_ATTESTATION', 'a message on the bus does not read as expected');
}
