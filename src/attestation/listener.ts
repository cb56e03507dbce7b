import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import { listenOnSocket, type BoundSocket } from '../core/unix-socket.ts';
import type { Attestation, PeerConnection } from './attestation.ts';

export interface ListenerOptions {
  readonly paths: readonly string[];
  readonly attestation: Pick<Attestation, 'accept'>;
  /** Takes the socket over; its `remoteAddress` is the connection's id. */
  readonly onConnection: (socket: Socket, connection: PeerConnection) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface PeerListener {
  /** Stops accepting and takes the socket files away; open connections go on. */
  close(): void;
}

/** Accepts every process that connects to one of the paths, and says who it is. */
export async function listenForPeers(options: ListenerOptions): Promise<PeerListener> {
  const bound: { server: Server; socket: BoundSocket }[] = [];
  const close = () => {
    for (const { server, socket } of bound) {
      socket.close();
      server.close();
    }
  };
  try {
    for (const path of options.paths) {
      const server = createServer((socket) => accept(socket, options));
      server.on('error', (thrown) => options.log.error({ path, err: thrown }, 'accept failed'));
      const socketOptions = { path, mode: 0o777, folderMode: 0o755, clock: options.clock };
      bound.push({ server, socket: await listenOnSocket(server, socketOptions) });
    }
  } catch (thrown) {
    close();
    throw thrown;
  }
  return { close };
}

function accept(socket: Socket, { attestation, onConnection, log }: ListenerOptions): void {
  const connection = attestation.accept(socket);
  // A reset is the peer's business; the close event that follows is what counts.
  socket.on('error', () => undefined);
  socket.once('close', () => connection.close());
  // grpc-js answers this as call.getPeer(); sockets of this kind have no address of their own.
  Object.defineProperty(socket, 'remoteAddress', { value: connection.id });
  try {
    onConnection(socket, connection);
  } catch (thrown) {
    // One connection must not end the others.
    log.error({ peer_pid: connection.credentials.pid, err: thrown }, 'connection not taken over');
    socket.destroy();
  }
}
