import { closeSync } from 'node:fs';
import { IdentityError } from '../core/errors.ts';
import type { ExitWatch } from './kernel.ts';
import { libc } from '../core/libc.ts';

const POLLIN = 1;
const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
/** `struct epoll_event` is packed on x86-64 alone. */
const EVENT = process.arch === 'x64' ? { bytes: 12, data: 4 } : { bytes: 16, data: 8 };
const EVENTS_AT_ONCE = 64;

/** An epoll of pidfds; unlike poll it takes no longer with more of them. */
export function createExitWatch(): ExitWatch {
  const { epollCreate, epollCtl, epollWait } = libc();
  const epfd = epollCreate(EPOLL_CLOEXEC);
  if (epfd < 0) throw new IdentityError('ERR_ATTESTATION', 'epoll_create1 failed');
  const event = Buffer.alloc(EVENT.bytes);
  const events = Buffer.alloc(EVENT.bytes * EVENTS_AT_ONCE);
  return {
    add(pidfd) {
      event.writeUInt32LE(POLLIN, 0);
      event.writeInt32LE(pidfd, EVENT.data);
      if (epollCtl(epfd, EPOLL_CTL_ADD, pidfd, event) !== 0) {
        throw new IdentityError('ERR_ATTESTATION', 'the process cannot be watched');
      }
    },
    remove(pidfd) {
      epollCtl(epfd, EPOLL_CTL_DEL, pidfd, event);
    },
    exited() {
      const count = epollWait(epfd, events, EVENTS_AT_ONCE, 0);
      const fds: number[] = [];
      for (let n = 0; n < count; n++) fds.push(events.readInt32LE(n * EVENT.bytes + EVENT.data));
      return fds;
    },
    close: () => closeSync(epfd),
  };
}
