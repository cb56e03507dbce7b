import { closeSync, fstatSync, readFileSync } from 'node:fs';
import { IdentityError } from '../core/errors.ts';
import type { PeerCredentials } from '../identity/caller.ts';
import { createExitWatch } from './exit-watch.ts';
import type { Kernel } from './kernel.ts';
import { errno, libc } from '../core/libc.ts';

// The constants of include/uapi for x86-64 and arm64.
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERPIDFD = 77;
const SYS_PIDFD_OPEN = 434;
const POLLIN = 1;
const EINTR = 4;
const ENFILE = 23;
const EMFILE = 24;
const ENOPROTOOPT = 92;

/** The kernel through libc. Throws `ERR_ATTESTATION` where processes cannot be pinned at all. */
export function createKernel(): Kernel {
  const processInode = processInodes();
  const sockets = createPeerSockets();
  return {
    get protection() {
      return sockets.havePidfds() ? ('peer-pidfd' as const) : ('pidfd-open' as const);
    },
    peerCredentials: sockets.credentials,
    peerPidfd: sockets.pidfd,
    openPidfd,
    pidOf(pidfd) {
      const text = readFileSync(`/proc/self/fdinfo/${pidfd}`, 'latin1');
      return Number(/^Pid:\s*(-?\d+)$/m.exec(text)?.[1] ?? -1);
    },
    processInode,
    hasExited: createExitCheck(),
    createExitWatch,
  };
}

/** Before Linux 6.9 all pidfds are one and the same anonymous inode: none stands for a process. */
function processInodes(): Kernel['processInode'] {
  const own = openPidfd(process.pid);
  if (own === undefined) {
    throw new IdentityError(
      'ERR_ATTESTATION',
      'this kernel has no pidfd: Linux 5.3 or newer is needed',
    );
  }
  const first = openPidfd(1);
  const differ = first !== undefined && fstatSync(first).ino !== fstatSync(own).ino;
  if (first !== undefined) closeSync(first);
  closeSync(own);
  return (pidfd) => (differ ? fstatSync(pidfd).ino : undefined);
}

/** What a Unix socket's options say of the process at the other end. */
function createPeerSockets() {
  const { getsockopt } = libc();
  const ucred = Buffer.alloc(12);
  const value = Buffer.alloc(4);
  const length = Buffer.alloc(4);
  let pidfdKnown = true;

  function option(fd: number, name: number, into: Buffer): boolean {
    length.writeUInt32LE(into.length);
    return getsockopt(fd, SOL_SOCKET, name, into, length) === 0;
  }

  return {
    havePidfds: () => pidfdKnown,
    credentials: (fd: number): PeerCredentials => {
      if (!option(fd, SO_PEERCRED, ucred)) {
        throw new IdentityError('ERR_ATTESTATION', 'the kernel does not name the peer');
      }
      return {
        pid: ucred.readInt32LE(0),
        uid: ucred.readUInt32LE(4),
        gid: ucred.readUInt32LE(8),
      };
    },
    pidfd: (fd: number, pid: number): number | undefined => {
      if (pidfdKnown) {
        if (option(fd, SO_PEERPIDFD, value)) return value.readInt32LE(0);
        // Anything but "no such option" means that the peer is gone (reaped before about 6.16).
        const reason = errno();
        if (reason === EMFILE || reason === ENFILE) throw noDescriptorLeft();
        if (reason !== ENOPROTOOPT) return undefined;
        pidfdKnown = false;
      }
      // Weaker: the number may have been reused between connect and accept.
      return openPidfd(pid);
    },
  };
}

function createExitCheck(): Kernel['hasExited'] {
  const { poll } = libc();
  const pollfd = Buffer.alloc(8);
  return (pidfd) => {
    pollfd.writeInt32LE(pidfd, 0);
    pollfd.writeInt32LE(POLLIN, 4);
    let ready = poll(pollfd, 1, 0);
    while (ready < 0 && errno() === EINTR) ready = poll(pollfd, 1, 0);
    // Any other error counts as an exit: fail closed.
    return ready !== 0;
  };
}

function openPidfd(pid: number): number | undefined {
  const fd = libc().syscall(SYS_PIDFD_OPEN, pid, 0);
  if (fd >= 0) return fd;
  const reason = errno();
  if (reason === EMFILE || reason === ENFILE) throw noDescriptorLeft();
  return undefined;
}

function noDescriptorLeft(): IdentityError {
  return new IdentityError('ERR_LIMIT', 'credence has no file descriptor left for this process');
}
