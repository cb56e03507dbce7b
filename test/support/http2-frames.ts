/*
 * HTTP/2 by hand, for what no client library would send. Headers are literals that are never
 * indexed (RFC 7541 6.2.3), so no state is kept.
 */

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const END_STREAM = 1;
export const END_HEADERS = 4;
const PADDED_ACK = 1;

/** What every connection begins with: the preface and an empty SETTINGS. */
export const OPENING = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  frame(FRAME.settings, 0, 0),
]);
export const SETTINGS_ACK = frame(FRAME.settings, PADDED_ACK, 0);

/** One frame; `length` overrides the true length of the payload. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
  length = payload.byteLength,
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** An integer of RFC 7541 5.1 with a prefix of 7 bits. */
function prefixed(value: number): Buffer {
  if (value < 127) return Buffer.of(value);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest >>= 7) bytes.push((rest & 127) | 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** A block of header literals. */
export function headerBlock(headers: readonly (readonly [name: string, value: string])[]): Buffer {
  return Buffer.concat(
    headers.flatMap(([name, value]) => {
      const [n, v] = [Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1')];
      return [Buffer.of(0x10), prefixed(n.length), n, prefixed(v.length), v];
    }),
  );
}

/** The headers of a call to SDS, and more. */
export function callHeaders(
  method = 'StreamSecrets',
  more: readonly (readonly [string, string])[] = [],
): (readonly [string, string])[] {
  return [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', `/envoy.service.secret.v3.SecretDiscoveryService/${method}`],
    [':authority', 'sds'],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ...more,
  ];
}

/**
 * Opens calls on streams 1, 3, 5 ... in the fewest bytes: the first one puts its headers into the
 * table (RFC 7541 6.2.1), the others name them there, a byte each (6.1).
 */
export function openManyCalls(count: number, method: string, flags: number): Buffer {
  const headers = callHeaders(method);
  const literal = (header: readonly [string, string]) => {
    const block = headerBlock([header]);
    block.writeUInt8(0x40, 0);
    return block;
  };
  const indexed = Buffer.from(headers.map((_, n) => 0x80 | (62 + headers.length - 1 - n)));
  return Buffer.concat(
    Array.from({ length: count }, (_, n) =>
      frame(
        FRAME.headers,
        flags,
        2 * n + 1,
        n === 0 ? Buffer.concat(headers.map(literal)) : indexed,
      ),
    ),
  );
}

/** Opens a call on a stream. */
export function openCall(
  stream: number,
  more: readonly (readonly [string, string])[] = [],
  flags = END_HEADERS,
): Buffer {
  return frame(FRAME.headers, flags, stream, headerBlock(callHeaders('StreamSecrets', more)));
}

/** A message as gRPC frames it; `length` overrides the true length. */
export function grpcMessage(
  message: Uint8Array,
  { compressed = 0, length = message.byteLength } = {},
): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

/** DATA of a stream, in one frame. */
export function data(stream: number, payload: Uint8Array, flags = 0): Buffer {
  return frame(FRAME.data, flags, stream, payload);
}
