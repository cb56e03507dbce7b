import { closeSync, writeSync } from 'node:fs';
import { endianness } from 'node:os';
import { IdentityError } from '../core/errors.ts';
import { libc } from '../core/libc.ts';
import type { ExitWatch } from './kernel.ts';

const POLLIN = 1;
const EPOLL_CLOEXEC = 0o2000000;
const EFD_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
/** `struct epoll_event` is packed on x86-64 alone. */
const EVENT = process.arch === 'x64' ? { bytes: 12, data: 4 } : { bytes: 16, data: 8 };
const EVENTS_AT_ONCE = 64;
/** A process that ends without closing the watch is held up by the waiting thread this long. */
const WAIT_MS = 2000;
/** What an eventfd takes: 1 as the machine's own 64-bit number. */
const ONE = Uint8Array.of(
  ...(endianness() === 'LE' ? [1, 0, 0, 0, 0, 0, 0, 0] : [0, 0, 0, 0, 0, 0, 0, 1]),
);

/** An epoll of pidfds; unlike poll it takes no longer with more of them. */
export function createExitWatch(): ExitWatch {
  const { epollCreate, epollCtl, epollWait, eventfd } = libc();
  const epfd = opened(epollCreate(EPOLL_CLOEXEC));
  const wake = opened(eventfd(0, EFD_CLOEXEC));
  const event = Buffer.alloc(EVENT.bytes);
  const events = Buffer.alloc(EVENT.bytes * EVENTS_AT_ONCE);
  // A buffer of its own: the thread writes into it while the loop goes on.
  const first = Buffer.alloc(EVENT.bytes);
  let waiting = false;
  let closed = false;

  function add(fd: number): void {
    event.writeUInt32LE(POLLIN, 0);
    event.writeInt32LE(fd, EVENT.data);
    if (epollCtl(epfd, EPOLL_CTL_ADD, fd, event) === 0) return;
    throw new IdentityError('ERR_ATTESTATION', 'the process cannot be watched');
  }

  /** Node's loop takes no foreign descriptors: a thread of its pool waits, and costs nothing so. */
  function wait(then: () => void): void {
    if (waiting || closed) return;
    waiting = true;
    epollWait.async(epfd, first, 1, WAIT_MS, () => {
      waiting = false;
      if (closed) release();
      else then();
    });
  }

  function release(): void {
    closeSync(epfd);
    closeSync(wake);
  }

  add(wake);
  return {
    add,
    remove: (pidfd) => void epollCtl(epfd, EPOLL_CTL_DEL, pidfd, event),
    exited() {
      const count = epollWait(epfd, events, EVENTS_AT_ONCE, 0);
      const fds: number[] = [];
      for (let n = 0; n < count; n++) fds.push(events.readInt32LE(n * EVENT.bytes + EVENT.data));
      return fds;
    },
    wait,
    close() {
      if (closed) return;
      closed = true;
      // The descriptors stay open until the thread has left them: their numbers must not be others'.
      if (waiting) writeSync(wake, ONE);
      else release();
    },
  };
}

function opened(fd: number): number {
  if (fd < 0) throw new IdentityError('ERR_ATTESTATION', 'ended processes cannot be watched');
  return fd;
}
