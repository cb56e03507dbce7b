const ALPHABET = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const PADDING = 0x3d;
const NEWLINE = 0x0a;
/** RFC 7468 2: 64 characters a line. */
const LINE_CHARS = 64;
const NOTHING = new Uint8Array();

/**
 * One PEM block (RFC 7468) as bytes, with `rest` behind it, in a buffer of its own. Encoded byte by
 * byte: a string cannot be wiped, so a key must never be one; by strings it also took several times
 * as long.
 */
export function pemBytes(label: string, der: Uint8Array, rest: Uint8Array = NOTHING): Buffer {
  const begin = `-----BEGIN ${label}-----\n`;
  const end = `-----END ${label}-----\n`;
  const chars = Math.ceil(der.length / 3) * 4;
  const body = chars + Math.ceil(chars / LINE_CHARS);
  // Outside the shared pool: no other buffer has a key for its neighbour, and an SVID that lives for
  // an hour does not keep 8 KiB alive.
  const out = Buffer.allocUnsafeSlow(begin.length + body + end.length + rest.length);
  out.write(begin, 'latin1');
  const at = writeBase64Lines(out, begin.length, der);
  out.write(end, at, 'latin1');
  out.set(rest, at + end.length);
  return out;
}

function writeBase64Lines(out: Buffer, start: number, bytes: Uint8Array): number {
  let at = start;
  let column = 0;
  for (let n = 0; n < bytes.length; n += 3) {
    const triple = ((bytes[n] ?? 0) << 16) | ((bytes[n + 1] ?? 0) << 8) | (bytes[n + 2] ?? 0);
    out[at] = ALPHABET[triple >> 18] ?? 0;
    out[at + 1] = ALPHABET[(triple >> 12) & 63] ?? 0;
    out[at + 2] = n + 1 < bytes.length ? (ALPHABET[(triple >> 6) & 63] ?? 0) : PADDING;
    out[at + 3] = n + 2 < bytes.length ? (ALPHABET[triple & 63] ?? 0) : PADDING;
    at += 4;
    column += 4;
    if (column === LINE_CHARS || n + 3 >= bytes.length) {
      out[at++] = NEWLINE;
      column = 0;
    }
  }
  return at;
}
