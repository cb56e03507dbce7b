import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../core/clock.ts';
import { hasHungUp } from '../core/hang-up.ts';

/** Makes sure that the end of every connection is noticed, and reads no more than is wanted. */
export interface ReadKeeper {
  /** Looks after a socket until it is closed. */
  add(socket: Duplex): void;
  /** The peer has begun to speak HTTP/2. */
  greeted(socket: Duplex): void;
  /**
   * Leaves what the peer sends to the kernel for a while, which then stops the peer; or goes on, if
   * the peer is still there. Not to be called while the socket is being read.
   */
  pause(socket: Duplex, paused: boolean): void;
  close(): void;
}

const LOOK_MS = 15_000;
/**
 * Every HTTP/2 client speaks first, with its settings (RFC 9113 3.4); who does not holds a connection
 * for nothing.
 */
const GREETING_MS = 30_000;

interface Handle {
  readonly fd?: number;
  readStart(): number;
  readStop(): number;
}

/**
 * After a frame that nghttp2 takes for the end of a session (DATA on a stream that was never opened
 * is enough) Node 20 stops reading the socket, but does not close it: it would never learn that the
 * peer has gone and keep the descriptor for ever. So reading is started again now and then, which
 * costs a tenth of a microsecond and changes nothing for a socket that is being read.
 */
export function createReadKeeper(clock: Clock): ReadKeeper {
  /** When each one was added, undefined once its peer has greeted. */
  const sockets = new Map<Duplex, number | undefined>();
  const stopped = new Set<Duplex>();
  let timer: Timer | undefined;

  function look(): void {
    timer = undefined;
    const now = clock.monotonic();
    for (const [socket, addedAt] of sockets) {
      if (!stopped.has(socket)) handleOf(socket)?.readStart();
      if (addedAt !== undefined && now - addedAt > GREETING_MS) socket.destroy();
    }
    arm();
  }

  function arm(): void {
    if (sockets.size > 0) timer ??= clock.after(LOOK_MS, look);
  }

  return {
    add(socket) {
      sockets.set(socket, clock.monotonic());
      socket.once('close', () => {
        sockets.delete(socket);
        stopped.delete(socket);
      });
      arm();
    },
    greeted(socket) {
      if (sockets.has(socket)) sockets.set(socket, undefined);
    },
    pause(socket, paused) {
      if (socket.destroyed || !sockets.has(socket)) return;
      if (paused) {
        stopped.add(socket);
        handleOf(socket)?.readStop();
      } else {
        stopped.delete(socket);
        const handle = handleOf(socket);
        // Who has gone waits for no answer: what it left unread may be the work of seconds.
        if (handle?.fd !== undefined && hasHungUp(handle.fd)) socket.destroy();
        else handle?.readStart();
      }
    },
    close() {
      timer?.cancel();
      timer = undefined;
      sockets.clear();
      stopped.clear();
    },
  };
}

/** What `net.Socket` itself starts and stops reading with; there is no public way past HTTP/2. */
function handleOf(socket: Duplex): Handle | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  return typeof handle === 'object' && handle !== null && 'readStart' in handle
    ? (handle as Handle)
    : undefined;
}
