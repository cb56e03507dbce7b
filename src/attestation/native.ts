import { closeSync, fstatSync, readFileSync } from 'node:fs';
import koffi from 'koffi';
import { IdentityError } from '../core/errors.ts';
import type { ExitWatch, Kernel } from './kernel.ts';

// The constants of include/uapi for x86-64 and arm64.
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERPIDFD = 77;
const SYS_PIDFD_OPEN = 434;
const POLLIN = 1;
const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const LOCK_EX_NB = 2 | 4;
const EINTR = 4;
const EWOULDBLOCK = 11;
const ENFILE = 23;
const EMFILE = 24;
const ENOPROTOOPT = 92;
/** `struct epoll_event` is packed on x86-64 alone. */
const EVENT = process.arch === 'x64' ? { bytes: 12, data: 4 } : { bytes: 16, data: 8 };
const EVENTS_AT_ONCE = 64;

type Call = (...args: readonly unknown[]) => number;

function bind() {
  const libc = koffi.load(null);
  const func = (declaration: string) => libc.func(declaration) as unknown as Call;
  return {
    getsockopt: func('int getsockopt(int fd, int level, int name, void *value, void *length)'),
    syscall: func('long syscall(long number, long a, long b)'),
    poll: func('int poll(void *fds, unsigned long count, int timeout)'),
    epollCreate: func('int epoll_create1(int flags)'),
    epollCtl: func('int epoll_ctl(int epfd, int op, int fd, void *event)'),
    epollWait: func('int epoll_wait(int epfd, void *events, int max, int timeout)'),
    flock: func('int flock(int fd, int operation)'),
  };
}

let bound: ReturnType<typeof bind> | undefined;
const native = () => (bound ??= bind());

/** The kernel through libc. Throws `ERR_ATTESTATION` where processes cannot be pinned at all. */
export function createKernel(): Kernel {
  const { getsockopt, syscall, poll } = native();
  const credentials = Buffer.alloc(12);
  const length = Buffer.alloc(4);
  const value = Buffer.alloc(4);
  const pollfd = Buffer.alloc(8);

  function option(fd: number, name: number, into: Buffer): boolean {
    length.writeUInt32LE(into.length);
    return getsockopt(fd, SOL_SOCKET, name, into, length) === 0;
  }

  function pidfdOpen(pid: number): number | undefined {
    const fd = syscall(SYS_PIDFD_OPEN, pid, 0);
    if (fd >= 0) return fd;
    const errno = koffi.errno();
    if (errno === EMFILE || errno === ENFILE) throw noDescriptorLeft();
    return undefined;
  }

  const own = pidfdOpen(process.pid);
  if (own === undefined) {
    throw new IdentityError(
      'ERR_ATTESTATION',
      'this kernel has no pidfd: Linux 5.3 or newer is needed',
    );
  }
  // Before Linux 6.9 all pidfds are one and the same anonymous inode.
  const first = pidfdOpen(1);
  const inodesDiffer = first !== undefined && fstatSync(first).ino !== fstatSync(own).ino;
  if (first !== undefined) closeSync(first);
  closeSync(own);
  let peerPidfdKnown = true;

  return {
    get protection() {
      return peerPidfdKnown ? ('peer-pidfd' as const) : ('pidfd-open' as const);
    },
    peerCredentials(fd) {
      if (!option(fd, SO_PEERCRED, credentials)) {
        throw new IdentityError('ERR_ATTESTATION', 'the kernel does not name the peer');
      }
      return {
        pid: credentials.readInt32LE(0),
        uid: credentials.readUInt32LE(4),
        gid: credentials.readUInt32LE(8),
      };
    },
    peerPidfd(fd, pid) {
      if (peerPidfdKnown) {
        if (option(fd, SO_PEERPIDFD, value)) return value.readInt32LE(0);
        // Anything but "no such option" means that the peer is gone (reaped before about 6.16).
        const errno = koffi.errno();
        if (errno === EMFILE || errno === ENFILE) throw noDescriptorLeft();
        if (errno !== ENOPROTOOPT) return undefined;
        peerPidfdKnown = false;
      }
      // Weaker: the number may have been reused between connect and accept.
      return pidfdOpen(pid);
    },
    openPidfd: pidfdOpen,
    pidOf(pidfd) {
      const text = readFileSync(`/proc/self/fdinfo/${pidfd}`, 'latin1');
      return Number(/^Pid:\s*(-?\d+)$/m.exec(text)?.[1] ?? -1);
    },
    processInode: (pidfd) => (inodesDiffer ? fstatSync(pidfd).ino : undefined),
    hasExited(pidfd) {
      pollfd.writeInt32LE(pidfd, 0);
      pollfd.writeInt32LE(POLLIN, 4);
      let ready = poll(pollfd, 1, 0);
      while (ready < 0 && koffi.errno() === EINTR) ready = poll(pollfd, 1, 0);
      // Any other error counts as an exit: fail closed.
      return ready !== 0;
    },
    createExitWatch,
  };
}

function createExitWatch(): ExitWatch {
  const { epollCreate, epollCtl, epollWait } = native();
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

function noDescriptorLeft(): IdentityError {
  return new IdentityError('ERR_LIMIT', 'credence has no file descriptor left for this process');
}

/** Takes an exclusive lock on an open file until it is closed; false when somebody else holds it. */
export function tryLock(fd: number): boolean {
  if (native().flock(fd, LOCK_EX_NB) === 0) return true;
  if (koffi.errno() === EWOULDBLOCK) return false;
  throw new IdentityError('ERR_DISK', `the file cannot be locked (errno ${koffi.errno()})`);
}
