import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** A Unix socket that passes everything on, and remembers what came in. */
export interface Tap extends AsyncDisposable {
  readonly path: string;
  /** What each connection that was made sent so far, in the order of the connections. */
  sent(): readonly Buffer[];
}

/** Listens at `path` and connects to `target`. The other end attests this process, not the client. */
export async function startTap(path: string, target: string): Promise<Tap> {
  const open = new Set<Socket>();
  const received: Buffer[][] = [];
  const server = createServer((near) => {
    const far = connect(target);
    const chunks: Buffer[] = [];
    // A connection that finds nobody at the other end sends nothing worth knowing.
    far.once('connect', () => received.push(chunks));
    near.on('data', (chunk: Buffer) => chunks.push(chunk));
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(socket);
      socket.pipe(other);
      socket.on('error', () => other.destroy());
      socket.once('close', () => {
        open.delete(socket);
        other.destroy();
      });
    }
  });
  server.listen(path);
  await once(server, 'listening');
  return {
    path,
    sent: () => received.map((chunks) => Buffer.concat(chunks)),
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
