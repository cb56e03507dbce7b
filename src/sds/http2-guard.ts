import {
  constants,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Server } from '@grpc/grpc-js';
import type { Clock } from '../core/clock.ts';
import { NOBODY, type PeerCredentials } from '../identity/caller.ts';
import type { CallTurns } from './call-turns.ts';
import { http2ServerOf, wrapStreamHandler, type StreamHandler } from './http2-server.ts';
import { MessageMeter } from './message-meter.ts';
import type { Limit } from './metrics.ts';
import { createReading, type ReadConnection } from './reading.ts';
import { takeFrom, type Bucket } from '../core/rates.ts';

export interface GuardOptions {
  readonly maxMessageBytes: number;
  /** Unfinished messages of all connections together. */
  readonly maxBufferedBytes: number;
  /** What HTTP/2 lets a peer open; it is told, and nghttp2 holds it to it. */
  readonly streamsPerConnection: number;
  readonly clock: Clock;
  readonly turns: CallTurns;
  /** Who is at the other end of a connection; `id` is the socket's `remoteAddress`. */
  readonly peerOf: (id: string | undefined) => PeerCredentials | undefined;
  /** A message is over the limit: grpc-js ends its call by itself, and tells nobody. */
  readonly onTooLarge: () => void;
  /** The peer has sent its settings: it speaks HTTP/2. */
  readonly onGreeting: (id: string | undefined) => void;
  /** Stops reading a connection, or goes on. */
  readonly pauseReading: (id: string | undefined, paused: boolean) => void;
  /**
   * Closes a connection for what its peer did; `id` is the socket's `remoteAddress`. Not before it
   * has returned: called while nghttp2 works through the input of the session, which destroyed then
   * corrupts the memory of the process (Node 20).
   */
  readonly closeConnection: (id: string | undefined, offence: Offence) => void;
  /** A connection has as many streams as it may, for the first time. */
  readonly onFull: (peer: PeerCredentials) => void;
  /** HTTP/2 has closed a connection by itself; its peer may not have `known` that it should not. */
  readonly onClosed: (peer: PeerCredentials, offence: Offence, known: boolean) => void;
}

/** What a connection is closed for, by the limit it went over. */
export const OFFENCES = {
  calls: 'too many calls at once',
  resets: 'too many resets',
  streams_per_connection: 'too many streams at once',
  message_pieces: 'a message in tiny pieces',
  unfinished_messages: 'too much of unfinished messages',
} satisfies Partial<Record<Limit, string>>;
export type Offence = keyof typeof OFFENCES;

/**
 * How nghttp2 ends a connection that is full and goes on: once the peer has acknowledged the limit,
 * at once; before that, when a thousand streams were refused. Node tells nobody of a single one, which
 * gets REFUSED_STREAM: the peer could not know, and may try again (RFC 9113 5.1.2, 8.7). To advertise
 * more and to refuse calls here would show them, but Envoy then opens no other connection for more.
 */
const AGAINST_THE_LIMIT = 'ERR_HTTP2_ERROR';
const BEFORE_THE_LIMIT = 'ERR_HTTP2_TOO_MANY_INVALID_FRAMES';
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
/**
 * What a peer may send before it hears of us. A first request of a real Envoy has about 61 kB, two of
 * them come at once, and the default of 65,535 bytes makes the second wait.
 */
const STREAM_WINDOW = 128 * 1024;
const CONNECTION_WINDOW = 256 * 1024;

interface Guarded {
  readonly session: ServerHttp2Session;
  readonly id: string | undefined;
  readonly peer: PeerCredentials;
  readonly reading: ReadConnection;
  readonly resets: Bucket;
  /** Open streams; once the session has ended, those that it had then. */
  streams: number;
  wasFull: boolean;
  buffered: number;
  closing: boolean;
  /** Streams with an answer whose peer has not ended its side. */
  readonly answered: Set<ServerHttp2Stream>;
}

/**
 * Bounds what HTTP/2 lets a peer do and neither Node nor grpc-js bounds: how many calls it opens
 * while others wait, resets, messages in tiny pieces, messages that are never finished, and streams
 * that the peer keeps after their end. Of the open streams of a connection, which nghttp2 bounds, it
 * tells what there is to see.
 */
export function guardHttp2(server: Server, options: GuardOptions): void {
  const guard = new Http2Guard(options);
  const http2Server = http2ServerOf(server);
  http2Server.updateSettings({ initialWindowSize: STREAM_WINDOW });
  http2Server.on('session', (session: ServerHttp2Session) => guard.onSession(session));
  wrapStreamHandler(http2Server, (handle) => guard.inTurn(handle));
}

class Http2Guard {
  readonly #options: GuardOptions;
  readonly #sessions = new Map<ServerHttp2Session, Guarded>();
  readonly #reading = createReading((peer, resume) => this.#options.turns.readOn(peer, resume));
  #buffered = 0;

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  onSession(session: ServerHttp2Session): void {
    const { clock, peerOf, onGreeting, pauseReading } = this.#options;
    const id = session.socket.remoteAddress;
    const peer = peerOf(id) ?? NOBODY;
    const guarded: Guarded = {
      session,
      id,
      peer,
      reading: this.#reading.add({ peer, pause: (paused) => pauseReading(id, paused) }),
      resets: { level: RESETS.burst, atMs: clock.monotonic() },
      ...{ streams: 0, wasFull: false },
      buffered: 0,
      closing: false,
      answered: new Set(),
    };
    this.#sessions.set(session, guarded);
    session.setLocalWindowSize(CONNECTION_WINDOW);
    session.once('remoteSettings', () => onGreeting(id));
    session.once('error', (error: NodeJS.ErrnoException) => this.#endedBy(error.code, guarded));
    session.once('close', () => {
      this.#sessions.delete(session);
      guarded.reading.close();
    });
  }

  /** In turns with the calls of other peers; one that is gone by then costs nothing more. */
  inTurn(handle: StreamHandler): StreamHandler {
    return (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      const guarded = stream.session && this.#sessions.get(stream.session as ServerHttp2Session);
      if (!guarded) return;
      stream.once('error', () => undefined);
      this.#countOpen(stream, guarded);
      stream.once('close', () => this.#countReset(stream, guarded));
      if (!guarded.reading.opened()) {
        // Later: a reset while nghttp2 takes in another may leave it in a loop (Node 20).
        setImmediate(() => stream.close(constants.NGHTTP2_REFUSED_STREAM));
        // Others of the same user may be to blame: who has few calls waiting only tries again.
        if (guarded.reading.busy) this.#close(guarded, 'calls');
        return;
      }
      this.#options.turns.take(guarded.peer, () => {
        guarded.reading.started();
        if (stream.destroyed || stream.closed) return false;
        handle(stream, headers);
        // After grpc-js has seen it: a listener for data would let the first of it slip by.
        this.#meter(stream, guarded);
        stream.once('finish', () => this.#answered(stream, guarded));
        return true;
      });
    };
  }

  #close(guarded: Guarded, offence: Offence): void {
    if (guarded.closing || !this.#sessions.has(guarded.session)) return;
    guarded.closing = true;
    this.#options.closeConnection(guarded.id, offence);
  }

  #countOpen(stream: ServerHttp2Stream, guarded: Guarded): void {
    const { onFull, streamsPerConnection } = this.#options;
    guarded.streams++;
    stream.once('close', () => {
      if (!guarded.session.destroyed) guarded.streams--;
    });
    if (guarded.wasFull || guarded.streams < streamsPerConnection) return;
    guarded.wasFull = true;
    onFull(guarded.peer);
  }

  #endedBy(code: string | undefined, guarded: Guarded): void {
    const { onClosed, streamsPerConnection } = this.#options;
    if (guarded.closing || guarded.streams < streamsPerConnection) return;
    // Any other protocol error of a peer that is full is counted as this one: nobody tells which.
    if (code !== AGAINST_THE_LIMIT && code !== BEFORE_THE_LIMIT) return;
    guarded.closing = true;
    onClosed(guarded.peer, 'streams_per_connection', code === AGAINST_THE_LIMIT);
  }

  #countReset({ rstCode }: ServerHttp2Stream, guarded: Guarded): void {
    if (rstCode === constants.NGHTTP2_NO_ERROR) return;
    const { clock } = this.#options;
    if (!takeFrom(guarded.resets, RESETS, clock.monotonic())) this.#close(guarded, 'resets');
  }

  /** Counts what a stream has sent of a message that is not whole. */
  #meter(stream: ServerHttp2Stream, guarded: Guarded): void {
    const { maxMessageBytes, maxBufferedBytes, onTooLarge } = this.#options;
    const meter = new MessageMeter(maxMessageBytes);
    let tooLarge = false;
    const account = (before: number) => {
      const more = meter.buffered - before;
      guarded.buffered += more;
      this.#buffered += more;
    };
    stream.on('data', (piece: Buffer) => {
      const before = meter.buffered;
      const fits = meter.take(piece);
      if (meter.buffered !== before) account(before);
      if (meter.tooLarge && !tooLarge) {
        tooLarge = true;
        onTooLarge();
      }
      if (!fits) this.#close(guarded, 'message_pieces');
      else if (this.#buffered > maxBufferedBytes) this.#closeLargest();
    });
    stream.once('close', () => {
      guarded.answered.delete(stream);
      const before = meter.buffered;
      meter.buffered = 0;
      account(before);
    });
  }

  /** The answer is sent; the peer should end its side too. */
  #answered(stream: ServerHttp2Stream, { answered }: Guarded): void {
    if (stream.readableEnded) return;
    answered.add(stream);
    if (answered.size <= MAX_ANSWERED) return;
    const [oldest = stream] = answered;
    answered.delete(oldest);
    // Not at once: the answer may be finished while nghttp2 takes in the reset of another stream,
    // and to send then makes it write for ever (Node 20).
    setImmediate(() => oldest.close(constants.NGHTTP2_NO_ERROR));
  }

  #closeLargest(): void {
    let largest: Guarded | undefined;
    for (const one of this.#sessions.values()) {
      if (one.buffered > (largest?.buffered ?? 0)) largest = one;
    }
    if (largest) this.#close(largest, 'unfinished_messages');
  }
}
