// Header compression (RFC 7541), without the dynamic table: requests are plain literals, and the
// settings of this client forbid the server a dynamic table.

const LITERAL_NEVER_INDEXED = 0x10;

/** The headers of a gRPC request to `path`. */
export function requestHeaders(path: string, authority: string): readonly [string, string][] {
  return [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', authority],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ['user-agent', 'credence-bench'],
  ];
}

/** A header block for a gRPC request to `path`. */
export function encodeRequestHeaders(path: string, authority: string): Buffer {
  return Buffer.concat(
    requestHeaders(path, authority).flatMap(([name, value]) => [
      Buffer.from([LITERAL_NEVER_INDEXED]),
      plainText(name),
      plainText(value),
    ]),
  );
}

/** A string without Huffman coding; its length is an integer with a 7 bit prefix. */
export function plainText(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  for (let rest = bytes.length - 127; ; rest >>>= 7) {
    if (rest < 128) return Buffer.concat([Buffer.from([...length, rest]), bytes]);
    length.push((rest & 0x7f) | 0x80);
  }
}

/** How a gRPC call ended, as far as its trailers say. */
export interface GrpcStatus {
  readonly code: number | undefined;
  readonly message: string;
}

/** Reads grpc-status and grpc-message of a header block; unreadable blocks give what was readable. */
export function decodeGrpcStatus(block: Uint8Array): GrpcStatus {
  let code: number | undefined;
  let message = '';
  for (const [name, value] of decodeLiterals(block)) {
    if (name === 'grpc-status') code = Number(value);
    else if (name === 'grpc-message') message = percentDecode(value);
  }
  return { code, message };
}

function percentDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function* decodeLiterals(block: Uint8Array): Generator<[string, string]> {
  let at = 0;
  const integer = (bits: number): number => {
    const mask = (1 << bits) - 1;
    let value = (block[at++] ?? 0) & mask;
    if (value < mask) return value;
    for (let shift = 0; at < block.length; shift += 7) {
      const byte = block[at++] ?? 0;
      value += (byte & 0x7f) << shift;
      if (byte < 128) break;
    }
    return value;
  };
  const text = (): string => {
    const huffman = ((block[at] ?? 0) & 0x80) !== 0;
    const length = integer(7);
    const bytes = block.subarray(at, at + length);
    at += length;
    return huffman ? decodeHuffman(bytes) : Buffer.from(bytes).toString('latin1');
  };
  while (at < block.length) {
    const first = block[at] ?? 0;
    if (first & 0x80) {
      integer(7); // a whole static entry; none of them is a gRPC trailer
      continue;
    }
    if ((first & 0xe0) === 0x20) {
      integer(5); // size of a table that is not used
      continue;
    }
    const index = integer(first & 0x40 ? 6 : 4);
    yield [index === 0 ? text() : `static ${index}`, text()];
  }
}

// The code is canonical (RFC 7541 appendix B): symbols of one length have consecutive codes in
// ascending order, so the lengths of the printable characters up to 15 bits are all there is to
// say. Status messages are percent-encoded and use no others.
const CODE_LENGTHS: readonly (readonly [number, string])[] = [
  [5, '012aceiost'],
  [6, ' %-./3456789=A_bdfghlmnpru'],
  [7, ':BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz'],
  [8, '&*,;XZ'],
  [10, '!"()?'],
  [11, "'+|"],
  [12, '#>'],
  [13, '\0$@[]~'],
  [14, '^}'],
  [15, '<`{'],
];

let codes: ReadonlyMap<number, string> | undefined;

function huffmanCodes(): ReadonlyMap<number, string> {
  const table = new Map<number, string>();
  let code = 0;
  let length = 0;
  for (const [bits, symbols] of CODE_LENGTHS) {
    code <<= bits - length;
    length = bits;
    // The length goes into the key as a leading one bit.
    for (const symbol of symbols) table.set((1 << bits) | code++, symbol);
  }
  return table;
}

function decodeHuffman(bytes: Uint8Array): string {
  codes ??= huffmanCodes();
  let out = '';
  let pending = 1;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      pending = (pending << 1) | ((byte >> bit) & 1);
      const symbol = codes.get(pending);
      if (symbol !== undefined) {
        out += symbol;
        pending = 1;
      } else if (pending >= 1 << 16) {
        return `${out}…`;
      }
    }
  }
  return out;
}
