import { once } from 'node:events';
import { connect } from 'node:net';

/** A connection whose bytes the test chooses. */
export interface RawPeer extends Disposable {
  /** Resolves when the bytes are on their way, or cannot be: closed, or not taken within 1 s. */
  write(bytes: Uint8Array): Promise<void>;
  /** Reads nothing more until it is told to go on: the kernel's buffers fill up. */
  pause(paused: boolean): void;
  /** Ends the sending side only. */
  end(): void;
  /** All that was received. */
  received(): Buffer;
  readonly closed: boolean;
  /** Whole frames that were received. */
  frames(): readonly ReceivedFrame[];
  /** Resolves when the connection is closed, whoever did it; rejects after 10 s. */
  untilClosed(): Promise<void>;
  close(): void;
}

export interface ReceivedFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export async function connectRaw(socketPath: string): Promise<RawPeer> {
  const socket = connect({ path: socketPath, allowHalfOpen: true });
  socket.setMaxListeners(0);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'connect');
  socket.on('error', () => undefined);
  socket.once('end', () => socket.destroy());
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const close = () => void socket.destroy();
  return {
    write: (bytes) =>
      new Promise((resolve) => {
        if (socket.destroyed) return resolve();
        const done = () => {
          clearTimeout(timer);
          socket.off('close', done);
          resolve();
        };
        const timer = setTimeout(done, 1000);
        socket.once('close', done);
        socket.write(bytes, done);
      }),
    pause: (paused) => (paused ? socket.pause() : socket.resume()),
    end: () => void socket.end(),
    received: () => Buffer.concat(chunks),
    get closed() {
      return socket.destroyed;
    },
    frames: () => framesIn(Buffer.concat(chunks)),
    untilClosed: async () => {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error('the connection is still open')), 10_000);
      });
      await Promise.race([closed, late]).finally(() => clearTimeout(timer));
    },
    close,
    [Symbol.dispose]: close,
  };
}

function framesIn(bytes: Buffer): ReceivedFrame[] {
  const frames: ReceivedFrame[] = [];
  for (let at = 0; at + 9 <= bytes.length;) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    const type = bytes.readUInt8(at + 3);
    const flags = bytes.readUInt8(at + 4);
    frames.push({
      type,
      flags,
      stream: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, end),
    });
    at = end;
  }
  return frames;
}
