import { encodeRequestHeaders } from './hpack.ts';
import { clientPreface, DEFAULT_WINDOW, FLAG, FRAME, frame, MAX_FRAME } from './frames.ts';
import { type Dialect, DIALECTS, type Variant } from './messages.ts';

/** A piece of a request that waits for window. */
export interface Outgoing {
  readonly streamId: number;
  readonly bytes: Buffer;
}

/** One stream of a connection as it is to be opened. */
export interface StreamPlan {
  readonly id: number;
  readonly name: string;
  /** The never-changing end of each acknowledgement. */
  readonly ackTail: Buffer;
  /** Bytes of the first request: what it takes from the send windows. */
  readonly requestBytes: number;
}

/**
 * Everything a proxy sends before the server has said a word; made once and used for each
 * connection. `later` is what exceeds the window that a client may assume.
 */
export interface Opening {
  readonly dialect: Dialect;
  readonly bytes: Buffer;
  readonly later: readonly Outgoing[];
  readonly streams: readonly StreamPlan[];
}

/** What to ask for and how to describe oneself. */
export interface OpeningOptions {
  readonly names: readonly string[];
  /** Encoded node of the first request of each stream. */
  readonly node: Buffer;
  /** Repeat the node in each acknowledgement, as Envoy does without node-once. */
  readonly nodeInAcks?: boolean;
  readonly variant?: Variant;
}

/** Builds the opening of a connection with one stream for each name. */
export function createOpening(options: OpeningOptions): Opening {
  const { names, node, nodeInAcks = false, variant = 'state of the world' } = options;
  const dialect = DIALECTS[variant];
  const headers = encodeRequestHeaders(dialect.method, 'sds');
  const frames = [clientPreface()];
  const later: Outgoing[] = [];
  let window = DEFAULT_WINDOW;
  const streams = names.map((name, index): StreamPlan => {
    const id = 2 * index + 1;
    const request = dialect.firstRequest(name, node);
    frames.push(frame(FRAME.headers, FLAG.endHeaders, id, headers));
    const now = Math.min(request.length, window);
    window -= now;
    frames.push(...dataFrames(id, request.subarray(0, now)));
    if (now < request.length) later.push({ streamId: id, bytes: request.subarray(now) });
    const tail = dialect.ackTail(name, nodeInAcks ? node : undefined);
    return { id, name, ackTail: tail, requestBytes: request.length };
  });
  return { dialect, bytes: Buffer.concat(frames), later, streams };
}

/** `bytes` as DATA frames of the size every peer accepts. */
export function dataFrames(streamId: number, bytes: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += MAX_FRAME) {
    frames.push(frame(FRAME.data, 0, streamId, bytes.subarray(at, at + MAX_FRAME)));
  }
  return frames;
}
