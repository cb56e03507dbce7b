import { libc } from './libc.ts';

// include/uapi/asm-generic/poll.h; reported whether asked for or not.
const POLLERR = 0x8;
const POLLHUP = 0x10;

const pollfd = Buffer.alloc(8);

/**
 * Whether the other end of a socket has been closed, also while it is not read and what came before
 * the end still lies in it. Half a microsecond; false when it cannot be told.
 */
export function hasHungUp(fd: number): boolean {
  pollfd.fill(0);
  pollfd.writeInt32LE(fd, 0);
  if (libc().poll(pollfd, 1, 0) <= 0) return false;
  return (pollfd.readInt16LE(6) & (POLLERR | POLLHUP)) !== 0;
}
