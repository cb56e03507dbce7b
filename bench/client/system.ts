import koffi from 'koffi';

const libc = koffi.load(null);
const cSocket = libc.func('int socket(int domain, int type, int protocol)');
const cPipe2 = libc.func('int pipe2(_Out_ int *fds, int flags)');

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

/**
 * A Unix socket that nobody has connected yet, not blocking: a full listen backlog then refuses at
 * once, as Envoy would see it. Node itself can only make connected ones.
 */
export function unconnectedSocket(): number {
  return checked(cSocket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | O_CLOEXEC, 0), 'socket');
}

/** A pipe. Not the socket pair that Node calls one: each byte of a pipe wakes one reader only. */
export function pipe(): { readFd: number; writeFd: number } {
  const fds = [0, 0];
  checked(cPipe2(fds, O_CLOEXEC), 'pipe2');
  const [readFd = -1, writeFd = -1] = fds;
  return { readFd, writeFd };
}

function checked(result: unknown, call: string): number {
  if (typeof result === 'number' && result >= 0) return result;
  throw new Error(`${call} failed, errno ${koffi.errno()}`);
}
