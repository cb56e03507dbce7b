import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../core/clock.ts';

/** Makes sure that the end of every connection is noticed. */
export interface ReadKeeper {
  /** Looks after a socket until it is closed. */
  add(socket: Duplex): void;
  close(): void;
}

const LOOK_MS = 5000;

interface Handle {
  readStart(): number;
}

/**
 * After a frame that nghttp2 takes for the end of a session (DATA on a stream that was never opened
 * is enough) Node 20 stops reading the socket, but does not close it: it would never learn that the
 * peer has gone and keep the descriptor for ever. So reading is started again now and then, which
 * costs a tenth of a microsecond and changes nothing for a socket that is being read.
 */
export function createReadKeeper(clock: Clock): ReadKeeper {
  const sockets = new Set<Duplex>();
  let timer: Timer | undefined;

  function look(): void {
    timer = undefined;
    for (const socket of sockets) handleOf(socket)?.readStart();
    arm();
  }

  function arm(): void {
    if (sockets.size > 0) timer ??= clock.after(LOOK_MS, look);
  }

  return {
    add(socket) {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      arm();
    },
    close() {
      timer?.cancel();
      timer = undefined;
      sockets.clear();
    },
  };
}

/** What `net.Socket` itself starts and stops reading with; there is no public way past HTTP/2. */
function handleOf(socket: Duplex): Handle | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  const known = typeof handle === 'object' && handle !== null && 'readStart' in handle;
  return known && typeof handle.readStart === 'function' ? (handle as Handle) : undefined;
}
