import type { Server } from 'node:net';
import type { Clock } from './clock.ts';
import { errorText } from './errors.ts';
import type { Logger } from './log.ts';
import type { BoundSocket, Standing } from './unix-socket.ts';

/** A server and the socket that it listens on. */
export interface Binding {
  readonly server: Server;
  readonly socket: BoundSocket;
}

export interface KeeperOptions {
  readonly path: string;
  /** Makes another server listen on the path, as at the start. */
  readonly bind: () => Promise<Binding>;
  /** Told why nobody can connect any more; what it returns is called when everybody can again. */
  readonly lost: (reason: string) => () => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How soon the loss of a file is noticed. */
const LOOK_EVERY_MS = 2000;

/**
 * Looks every two seconds whether a socket's file is still there: the kernel tells nobody that a
 * socket has lost its name, and a daemon without one looks alive. The name is put back while it is
 * free; what stands there instead, even a stale socket, somebody has put there and has to take away.
 * Connections that are open stay. The returned function ends it, with the socket that is there then.
 */
export function keepSocket(first: Binding, options: KeeperOptions): () => void {
  const { path, bind, lost, clock, log } = options;
  let { server, socket } = first;
  let found: (() => void) | undefined;
  let closed = false;
  let timer = clock.after(LOOK_EVERY_MS, onTimer);

  function onTimer(): void {
    void look().finally(() => {
      if (!closed) timer = clock.after(LOOK_EVERY_MS, onTimer);
    });
  }

  /** Never rejects. */
  async function look(): Promise<void> {
    try {
      const standing = socket.standing();
      if (standing !== 'ours') await putBack(standing);
      else if (found) back('the socket is there again');
    } catch (thrown) {
      lose(errorText(thrown));
    }
  }

  async function putBack(standing: Exclude<Standing, 'ours'>): Promise<void> {
    if (standing === 'another') return lose('something else stands in its place');
    const next = await bind();
    // Nobody can have connected to the old one since: it has no name.
    server.close();
    ({ server, socket } = next);
    if (closed) return end();
    if (found) back('the socket has been put back');
    else log.error({ path }, 'the socket was no longer there and has been put back');
  }

  /** Says it once for each loss. */
  function lose(why: string): void {
    if (found || closed) return;
    const reason = `the socket ${path} is no longer there: ${why}`;
    log.error({ path, reason: why }, 'the socket is no longer there, nobody can connect');
    found = lost(reason);
  }

  function back(message: string): void {
    found?.();
    found = undefined;
    log.info({ path }, message);
  }

  function end(): void {
    socket.close();
    server.close();
  }

  return () => {
    closed = true;
    timer.cancel();
    end();
  };
}
