import { MessageChannel } from 'node:worker_threads';

/** Keeps the process alive until closed: timers do not, an open port does. */
export function stayAlive(): { close(): void } {
  const { port1 } = new MessageChannel();
  port1.ref();
  return port1;
}
