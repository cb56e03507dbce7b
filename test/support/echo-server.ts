import { createServer, type Socket } from 'node:net';
import { once } from 'node:events';

/** A TCP server that sends back what it gets. */
export async function startEchoServer(port: number): Promise<AsyncDisposable> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  server.listen({ port, host: '127.0.0.1' });
  await once(server, 'listening');
  return {
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
