// HTTP/2 frames as a gRPC client needs them (RFC 9113).

/** Frame types, RFC 9113 section 6. */
export const FRAME = {
  data: 0,
  headers: 1,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** Frame flags; the same bit means different things on different frames. */
export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

/** Bytes in front of every frame. */
export const FRAME_HEADER = 9;
/** Until the peer says otherwise, RFC 9113 section 6.5.2. */
export const DEFAULT_WINDOW = 65_535;
/** What every receiver must take, and what this client never exceeds. */
export const MAX_FRAME = 16_384;
/** The largest flow-control window, RFC 9113 section 6.9.1. */
export const MAX_WINDOW = 2 ** 31 - 1;

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const SETTING = { headerTableSize: 1, enablePush: 2, initialWindowSize: 4 } as const;

/** Setting that bounds what may be sent on a new stream. */
export const INITIAL_WINDOW_SIZE = SETTING.initialWindowSize;

/** One frame around `payload` (at most `MAX_FRAME` bytes). */
export function frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array | readonly Uint8Array[] = [],
): Buffer {
  const parts: readonly Uint8Array[] = payload instanceof Uint8Array ? [payload] : payload;
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = Buffer.allocUnsafe(FRAME_HEADER + length);
  bytes.writeUIntBE(length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(streamId, 5);
  let at = FRAME_HEADER;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A WINDOW_UPDATE of `increment` bytes. */
export function windowUpdate(streamId: number, increment: number): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt32BE(increment);
  return frame(FRAME.windowUpdate, 0, streamId, payload);
}

/**
 * What a client says first. No dynamic header table: then a trailer can be read without its
 * history. Windows as wide as they go: the client never makes the server wait.
 */
export function clientPreface(): Buffer {
  return Buffer.concat([
    Buffer.from(PREFACE),
    frame(FRAME.settings, 0, 0, [
      setting(SETTING.headerTableSize, 0),
      setting(SETTING.enablePush, 0),
      setting(SETTING.initialWindowSize, MAX_WINDOW),
    ]),
    windowUpdate(0, MAX_WINDOW - DEFAULT_WINDOW),
  ]);
}

function setting(id: number, value: number): Buffer {
  const bytes = Buffer.allocUnsafe(6);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt32BE(value, 2);
  return bytes;
}

/** Receives whole frames; `payload` is a view that is valid during the call only. */
export type OnFrame = (type: number, flags: number, streamId: number, payload: Buffer) => void;

/** Cuts a byte stream into frames. Throws on a frame longer than was agreed. */
export function createFrameReader(onFrame: OnFrame): (chunk: Buffer) => void {
  let rest: Buffer | undefined;
  return (chunk) => {
    const bytes = rest ? Buffer.concat([rest, chunk]) : chunk;
    rest = undefined;
    let at = 0;
    while (bytes.length - at >= FRAME_HEADER) {
      const length = bytes.readUIntBE(at, 3);
      if (length > MAX_FRAME) throw new Error(`frame of ${length} bytes, agreed were ${MAX_FRAME}`);
      const end = at + FRAME_HEADER + length;
      if (end > bytes.length) break;
      onFrame(
        bytes[at + 3] ?? 0,
        bytes[at + 4] ?? 0,
        bytes.readUInt32BE(at + 5) & 0x7fffffff,
        bytes.subarray(at + FRAME_HEADER, end),
      );
      at = end;
    }
    if (at < bytes.length) rest = bytes.subarray(at);
  };
}
