const BEGIN = Buffer.from('-----BEGIN CERTIFICATE-----\n');
const END = Buffer.from('-----END CERTIFICATE-----\n');
const ALPHABET = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const PADDING = 0x3d;
const NEWLINE = 0x0a;
/** RFC 7468 2: 64 characters a line. */
const LINE_CHARS = 64;

/**
 * The leaf as PEM with its issuer's PEM behind it, in one buffer of its own. Encoded byte by byte:
 * by strings of 64 characters the same took 9 µs of a mint, this takes 2.
 */
export function chainPem(leaf: Uint8Array, issuerPem: Uint8Array): Buffer {
  const chars = Math.ceil(leaf.length / 3) * 4;
  const body = chars + Math.ceil(chars / LINE_CHARS);
  // Outside the shared pool: an SVID lives for an hour and would keep 8 KiB of it alive.
  const out = Buffer.allocUnsafeSlow(BEGIN.length + body + END.length + issuerPem.length);
  out.set(BEGIN);
  const at = writeBase64Lines(out, BEGIN.length, leaf);
  out.set(END, at);
  out.set(issuerPem, at + END.length);
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
