import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import { errorText, IdentityError, toIdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { keepSocket, type Binding } from '../core/unix-socket-keeper.ts';
import { listenOnSocket } from '../core/unix-socket.ts';
import type { Attestation, PeerConnection } from './attestation.ts';

export interface ListenerOptions {
  readonly paths: readonly string[];
  /** Of the socket files: who may connect. Everybody unless told. */
  readonly mode?: number;
  readonly attestation: Pick<Attestation, 'accept'>;
  /** Whether a connection is worth any work; all are unless told. */
  readonly admits?: (fd: number) => boolean;
  /** Takes the socket over; its `remoteAddress` is the connection's id. */
  readonly onConnection: (socket: Socket, connection: PeerConnection) => void;
  /**
   * Told that a socket's file is gone and cannot be put back; what it returns is called when it is
   * there again. Without it nobody looks.
   */
  readonly lost?: (reason: string) => () => void;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface PeerListener {
  /** Stops accepting and takes the socket files away; open connections go on. */
  close(): void;
}

/**
 * Accepts connections to the paths and says which process each is of. Those that `admits` turns away
 * are closed before anything is made of them; everybody else is accepted, and refused by the call.
 */
export async function listenForPeers(options: ListenerOptions): Promise<PeerListener> {
  const closing: (() => void)[] = [];
  const close = () => closing.forEach((end) => end());
  try {
    for (const path of options.paths) closing.push(await listenOn(path, options));
  } catch (thrown) {
    close();
    throw thrown;
  }
  return { close };
}

/** Returns how to end it. */
async function listenOn(path: string, options: ListenerOptions): Promise<() => void> {
  const bound = await bind(path, options);
  const { lost, clock, log } = options;
  if (lost) return keepSocket(bound, { path, bind: () => bind(path, options), lost, clock, log });
  return () => {
    bound.socket.close();
    bound.server.close();
  };
}

async function bind(path: string, options: ListenerOptions): Promise<Binding> {
  const { mode = 0o777, admits, clock, log } = options;
  const server = createServer((socket) => accept(socket, options));
  server.on('error', (thrown) => log.error({ path, reason: errorText(thrown) }, 'accept failed'));
  const socket = await listenOnSocket(server, { path, mode, folderMode: 0o755, clock });
  for (const reason of socket.doubts) log.warn({ path, reason }, 'socket folder');
  if (admits) refuseEarly(server, admits);
  return { server, socket };
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
    const { code, message } = toIdentityError(thrown);
    const fault = code === 'ERR_BUG' ? { err: thrown } : { code, reason: message };
    const fields = { peer_pid: connection.credentials.pid, ...fault };
    log.error(fields, 'connection not taken over');
    socket.destroy();
  }
}

interface Handle {
  onconnection(status: number, client?: { readonly fd: number; close(): void }): void;
}

/**
 * Closes connections before Node makes a socket of them: a tenth of the work, done for each of the
 * thousands that the backlog holds before anything else is looked at. Node has no public way.
 */
function refuseEarly(server: Server, admits: (fd: number) => boolean): void {
  const handle: unknown = Reflect.get(server, '_handle');
  if (!isHandle(handle)) throw new IdentityError('ERR_BUG', 'Node keeps its handles elsewhere');
  const accepted = handle.onconnection.bind(handle);
  handle.onconnection = (status, client) => {
    if (client && isRefused(client.fd)) client.close();
    else accepted(status, client);
  };

  function isRefused(fd: number): boolean {
    try {
      return !admits(fd);
    } catch {
      // Who cannot be told is told apart later, where it is logged.
      return false;
    }
  }
}

function isHandle(value: unknown): value is Handle {
  const known = typeof value === 'object' && value !== null && 'onconnection' in value;
  return known && typeof value.onconnection === 'function';
}
