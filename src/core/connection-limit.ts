import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from './clock.ts';
import { createRates } from './rates.ts';

export interface ConnectionLimit {
  /** Connections that the server has at once. */
  readonly most: number;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Told at most once a minute, with how many connections were cut off since. */
  readonly onFull: (count: number) => void;
}

const TOLD = { burst: 1, perSecond: 1 / 60 };

/**
 * Bounds the connections of a server that anybody may connect to. Node's `maxConnections` turns the
 * newest away, so whoever opens enough of them and asks nothing keeps everybody else out. Here the
 * oldest has to go that no answer is being made for: it has had the longest time to ask, or reads
 * its answer slowly. When all are being answered, the oldest of all.
 */
export function limitConnections(server: Server, { most, clock, onFull }: ConnectionLimit): void {
  const told = createRates(TOLD, clock);
  /** In the order they came, each with its latest answer. */
  const open = new Map<Socket, ServerResponse | undefined>();
  let count = 0;

  server.on('connection', (socket) => {
    if (open.size >= most) makeRoom();
    open.set(socket, undefined);
    socket.once('close', () => open.delete(socket));
  });
  server.prependListener('request', ({ socket }, response) => {
    if (open.has(socket)) open.set(socket, response);
  });

  function makeRoom(): void {
    const connections = [...open];
    const idle = connections.find(([, response]) => response?.writableEnded !== false);
    const [socket] = idle ?? connections[0] ?? [];
    if (!socket) return;
    // Its close event comes later; the descriptor is free at once.
    open.delete(socket);
    socket.destroy();
    count++;
    if (!told.take(0)) return;
    onFull(count);
    count = 0;
  }
}
