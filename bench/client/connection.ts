import type { Socket } from 'node:net';
import {
  createFrameReader,
  FLAG,
  FRAME,
  frame,
  INITIAL_WINDOW_SIZE,
  windowUpdate,
} from './frames.ts';
import { decodeGrpcStatus } from './hpack.ts';
import { describeSecret, type Dialect, type SecretKind } from './messages.ts';
import type { Opening, StreamPlan } from './opening.ts';
import { SendWindow } from './send-window.ts';

/** One secret that arrived and has been acknowledged. */
export interface Delivery {
  /** Place of the name in the opening. */
  readonly index: number;
  readonly name: string;
  /** How many secrets this stream has had before. */
  readonly earlier: number;
  /** Of the first secret of a stream; later ones are not looked into. */
  readonly kind?: SecretKind;
}

/** What a connection tells its owner. */
export interface ConnectionEvents {
  delivered(delivery: Delivery): void;
  /** The connection or one of its streams failed; told once, then the socket is gone. */
  failed(error: Error): void;
}

interface Stream {
  readonly plan: StreamPlan;
  readonly index: number;
  deliveries: number;
  partial: Buffer | undefined;
}

/** The receive window is given back after this many bytes. */
const GIVE_BACK = 2 ** 29;

/**
 * The client's end of one HTTP/2 connection with SDS streams on it. It answers every response at
 * once with an acknowledgement, and takes the end of any stream as a failure: a server does not end
 * one by itself while it grants what was asked for.
 */
export class SdsConnection {
  readonly #socket: Socket;
  readonly #events: ConnectionEvents;
  readonly #window: SendWindow;
  readonly #dialect: Dialect;
  readonly #streams: Map<number, Stream>;
  #out: Buffer[] = [];
  #block: Buffer[] = [];
  #received = 0;
  #closed = false;
  #streamEnded = false;

  /** `written`: bytes of the opening that were sent before, by the process that connected. */
  constructor(socket: Socket, opening: Opening, events: ConnectionEvents, written = 0) {
    this.#socket = socket;
    this.#events = events;
    this.#window = new SendWindow(opening);
    this.#dialect = opening.dialect;
    this.#streams = new Map(
      opening.streams.map((plan, index) => [
        plan.id,
        { plan, index, deliveries: 0, partial: undefined },
      ]),
    );
    const read = createFrameReader((...args) => this.#onFrame(...args));
    socket.on('data', (chunk: Buffer) => this.#onData(read, chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
    if (written < opening.bytes.length) socket.write(opening.bytes.subarray(written));
  }

  /** Ends the connection without a goodbye, as a proxy that is killed does. */
  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  #fail(error: Error): void {
    if (this.#closed) return;
    this.close();
    this.#events.failed(error);
  }

  #onData(read: (chunk: Buffer) => void, chunk: Buffer): void {
    if (this.#closed) return;
    try {
      read(chunk);
    } catch (thrown) {
      return this.#fail(thrown instanceof Error ? thrown : new Error(String(thrown)));
    }
    this.#flush();
  }

  /** All that one read gave rise to leaves in one write. */
  #flush(): void {
    const [first, ...rest] = this.#out;
    if (!first || this.#closed) return;
    this.#socket.write(rest.length === 0 ? first : Buffer.concat(this.#out));
    this.#out = [];
  }

  #onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    switch (type) {
      case FRAME.data:
        return this.#onStreamData(flags, streamId, payload);
      case FRAME.headers:
        return this.#onHeaders(flags, streamId, headerFragment(flags, payload));
      case FRAME.continuation:
        return this.#onHeaders(flags, streamId, payload);
      case FRAME.settings:
        if (!(flags & FLAG.ack)) this.#onSettings(payload);
        return;
      case FRAME.ping:
        if (!(flags & FLAG.ack)) this.#out.push(frame(FRAME.ping, FLAG.ack, 0, payload));
        return;
      case FRAME.windowUpdate:
        this.#out.push(...this.#window.widen(streamId, payload.readUInt32BE(0)));
        return;
      case FRAME.rstStream:
        throw new Error(`stream ${streamId} was reset, HTTP/2 code ${payload.readUInt32BE(0)}`);
      case FRAME.goAway: {
        const text = payload.subarray(8).toString();
        throw new Error(`the server said GOAWAY, HTTP/2 code ${payload.readUInt32BE(4)} ${text}`);
      }
      default: // RFC 9113 section 4.1: other frames are ignored
    }
  }

  #onSettings(payload: Buffer): void {
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      if (payload.readUInt16BE(at) === INITIAL_WINDOW_SIZE) {
        this.#out.push(...this.#window.setInitial(payload.readUInt32BE(at + 2)));
      }
    }
    this.#out.push(frame(FRAME.settings, FLAG.ack, 0));
  }

  #onHeaders(flags: number, streamId: number, fragment: Buffer): void {
    if (flags & FLAG.endStream) this.#streamEnded = true;
    if (this.#streamEnded) this.#block.push(Buffer.from(fragment));
    if (!this.#streamEnded || !(flags & FLAG.endHeaders)) return;
    const { code, message } = decodeGrpcStatus(Buffer.concat(this.#block));
    const name = this.#streams.get(streamId)?.plan.name ?? `number ${streamId}`;
    throw new Error(`stream for ${name} ended: gRPC status ${code ?? 'missing'} ${message}`.trim());
  }

  #onStreamData(flags: number, streamId: number, payload: Buffer): void {
    this.#received += payload.length;
    if (this.#received >= GIVE_BACK) {
      this.#out.push(windowUpdate(0, this.#received));
      this.#received = 0;
    }
    const stream = this.#streams.get(streamId);
    if (!stream) throw new Error(`data on stream ${streamId}, which was never opened`);
    if (flags & FLAG.endStream) throw new Error(`stream ${streamId} ended without trailers`);
    const data = unpadded(flags, payload);
    const bytes = stream.partial ? Buffer.concat([stream.partial, data]) : data;
    const used = this.#onMessages(stream, bytes);
    stream.partial = used < bytes.length ? Buffer.from(bytes.subarray(used)) : undefined;
  }

  /** Handles the whole messages in `bytes`; returns how many bytes they took. */
  #onMessages(stream: Stream, bytes: Buffer): number {
    let at = 0;
    while (bytes.length - at >= 5) {
      if (bytes[at] !== 0) throw new Error('a compressed message, though none was offered');
      const end = at + 5 + bytes.readUInt32BE(at + 1);
      if (end > bytes.length) break;
      this.#onResponse(stream, bytes, at + 5, end);
      at = end;
    }
    return at;
  }

  #onResponse(stream: Stream, bytes: Buffer, start: number, end: number): void {
    const response = this.#dialect.parseResponse(bytes, start, end);
    const { plan, index } = stream;
    const earlier = stream.deliveries++;
    const first = earlier === 0 ? this.#inspect(plan, bytes, response.resources) : undefined;
    const ack = this.#dialect.acknowledge(response, plan.ackTail);
    this.#out.push(...this.#window.send(plan.id, ack));
    this.#events.delivered({ index, name: plan.name, earlier, ...(first && { kind: first }) });
  }

  #inspect(
    plan: StreamPlan,
    bytes: Buffer,
    resources: readonly (readonly [number, number])[],
  ): SecretKind {
    const secrets = resources.map((bounds) => describeSecret(bytes, bounds));
    const match = secrets.find(({ name }) => name === plan.name);
    if (match && match.kind !== 'other') return match.kind;
    const got = secrets.map(({ name, kind }) => `${name} (${kind})`).join(', ') || 'nothing';
    throw new Error(`asked for ${plan.name}, got ${got}`);
  }
}

function unpadded(flags: number, payload: Buffer): Buffer {
  return flags & FLAG.padded ? payload.subarray(1, payload.length - (payload[0] ?? 0)) : payload;
}

function headerFragment(flags: number, payload: Buffer): Buffer {
  const bytes = unpadded(flags, payload);
  return flags & FLAG.priority ? bytes.subarray(5) : bytes;
}
