import { EventEmitter } from 'node:events';
import {
  constants,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Server } from '@grpc/grpc-js';
import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { MessageMeter } from './message-meter.ts';
import { takeFrom, type Bucket } from './rates.ts';

export interface GuardOptions {
  readonly maxMessageBytes: number;
  /** Unfinished messages of all connections together. */
  readonly maxBufferedBytes: number;
  readonly clock: Clock;
  /**
   * Closes a connection for what its peer did; `id` is the socket's `remoteAddress`. Called when
   * nothing of it is being read: a session that is destroyed while nghttp2 works through its input
   * corrupts the memory of the process (Node 20).
   */
  readonly closeConnection: (id: string | undefined, reason: string) => void;
}

/**
 * Streams that a peer may reset. nghttp2 allows 1000 at once and 33 a second, then it stops reading
 * without a word to Node: the connection would stay for ever, also after its peer has gone.
 */
const RESETS = { burst: 900, perSecond: 30 };
/**
 * Answered streams that a peer may keep half open. Most reset them at once; the answer of the oldest
 * has long been sent when it is closed as RFC 9113 8.1 allows.
 */
const MAX_ANSWERED = 100;

interface Guarded {
  readonly session: ServerHttp2Session;
  readonly resets: Bucket;
  buffered: number;
  closing: boolean;
  /** Streams with an answer whose peer has not ended its side. */
  readonly answered: Set<ServerHttp2Stream>;
}

/**
 * Bounds what HTTP/2 lets a peer do and neither Node nor grpc-js bounds: resets, messages in tiny
 * pieces, messages that are never finished, and streams that the peer keeps after their end.
 */
export function guardHttp2(server: Server, options: GuardOptions): void {
  const { clock } = options;
  const sessions = new Map<ServerHttp2Session, Guarded>();
  let buffered = 0;

  function close(session: ServerHttp2Session, reason: string): void {
    const guarded = sessions.get(session);
    if (!guarded || guarded.closing) return;
    guarded.closing = true;
    setImmediate(() => {
      if (!session.destroyed) options.closeConnection(session.socket.remoteAddress, reason);
    });
  }

  function onSession(session: ServerHttp2Session): void {
    const resets = { level: RESETS.burst, atMs: clock.now() };
    sessions.set(session, { session, resets, buffered: 0, closing: false, answered: new Set() });
    session.once('close', () => sessions.delete(session));
  }

  function onStream(stream: ServerHttp2Stream): void {
    const guarded = stream.session && sessions.get(stream.session as ServerHttp2Session);
    if (!guarded) return;
    const { session } = guarded;
    const meter = new MessageMeter(options.maxMessageBytes);
    const account = (before: number) => {
      const more = meter.buffered - before;
      guarded.buffered += more;
      buffered += more;
    };
    stream.on('data', (piece: Buffer) => {
      const before = meter.buffered;
      const fits = meter.take(piece);
      if (meter.buffered !== before) account(before);
      if (!fits) close(session, 'a message in tiny pieces');
      else if (buffered > options.maxBufferedBytes) closeLargest();
    });
    stream.once('finish', () => {
      if (stream.readableEnded) return;
      guarded.answered.add(stream);
      if (guarded.answered.size <= MAX_ANSWERED) return;
      const [oldest = stream] = guarded.answered;
      guarded.answered.delete(oldest);
      oldest.close(constants.NGHTTP2_NO_ERROR);
    });
    stream.once('close', () => {
      guarded.answered.delete(stream);
      const before = meter.buffered;
      meter.buffered = 0;
      account(before);
      if (stream.rstCode === constants.NGHTTP2_NO_ERROR) return;
      if (!takeFrom(guarded.resets, RESETS, clock.now())) close(session, 'too many resets');
    });
  }

  function closeLargest(): void {
    let largest: Guarded | undefined;
    for (const one of sessions.values()) {
      if (one.buffered > (largest?.buffered ?? 0)) largest = one;
    }
    if (largest) close(largest.session, 'too much of unfinished messages');
  }

  const http2Server = http2ServerOf(server);
  http2Server.on('session', onSession);
  // After the listener of grpc-js: by then the stream is in the state that grpc-js wants.
  http2Server.on('stream', onStream);
}

/**
 * The HTTP/2 server behind the one connection injector of a grpc-js server, to which there is no
 * public way. The version of grpc-js is pinned; without the server nothing starts.
 */
function http2ServerOf(server: Server): Http2Server {
  const servers: unknown = Reflect.get(server, 'http2Servers');
  const first: unknown = servers instanceof Map ? servers.keys().next().value : undefined;
  if (isHttp2Server(first)) return first;
  throw new IdentityError('ERR_BUG', 'grpc-js keeps its HTTP/2 server in another place');
}

function isHttp2Server(value: unknown): value is Http2Server {
  return value instanceof EventEmitter;
}
