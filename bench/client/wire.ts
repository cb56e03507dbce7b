// Protocol Buffers as far as an SDS client needs them. Written apart from the daemon's codec on
// purpose: two ends that share a codec would share its mistakes.

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** `value` (below 2^53) as a base-128 varint. */
export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** A length-delimited field: text, bytes or an encoded message. */
export function bytesField(number: number, value: string | Uint8Array): Buffer {
  const payload = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([varint(number * 8 + BYTES), varint(payload.length), payload]);
}

/** A varint field. */
export function varintField(number: number, value: number): Buffer {
  return Buffer.concat([varint(number * 8 + VARINT), varint(value)]);
}

/**
 * Calls `visit` for each length-delimited field of the message in `buffer[start, end)`, with the
 * bounds of its payload; other fields are skipped. Throws when the message is cut or not Protobuf.
 */
export function eachBytesField(
  buffer: Uint8Array,
  start: number,
  end: number,
  visit: (number: number, from: number, to: number) => void,
): void {
  let at = start;
  const read = (): number => {
    let value = 0;
    for (let scale = 1; at < end; scale *= 0x80) {
      const byte = buffer[at++] ?? 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw new Error(`message cut inside a varint at ${at}`);
  };
  while (at < end) {
    const tag = read();
    const type = tag & 7;
    if (type === BYTES) {
      const length = read();
      if (at + length > end) throw new Error(`field of ${length} bytes with ${end - at} left`);
      visit(Math.floor(tag / 8), at, at + length);
      at += length;
    } else if (type === VARINT) {
      read();
    } else if (type === FIXED64 || type === FIXED32) {
      at += type === FIXED64 ? 8 : 4;
      if (at > end) throw new Error('message cut inside a fixed field');
    } else {
      throw new Error(`unknown wire type ${type}`);
    }
  }
}
