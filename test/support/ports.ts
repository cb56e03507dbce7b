import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const FIRST = 10_100;
const given = new Set<number>();

/**
 * A free loopback port below the range the kernel takes client ports from: nothing that connects
 * while the tests run can take it before its owner binds it.
 */
export async function freePort(): Promise<number> {
  const end = ephemeralStart();
  for (let tries = 0; tries < 200; tries++) {
    const port = FIRST + Math.floor(Math.random() * (end - FIRST));
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no free loopback port between ${FIRST} and ${end}`);
}

/** Whether nothing listens on a loopback port. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1' }, () => server.close(() => resolve(true)));
  });
}

function ephemeralStart(): number {
  try {
    const text = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8');
    const start = Number(text.split(/\s/)[0]);
    return start > FIRST + 1000 ? start : 32_768;
  } catch {
    return 32_768;
  }
}
