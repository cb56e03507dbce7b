import type { PeerCredentials } from '../identity/caller.ts';

/** What attestation asks the kernel; the FFI behind it is `native.ts`, tests have one of their own. */
export interface Kernel {
  /** SO_PEERCRED: frozen at connect; the pid is translated now and may be 0. */
  peerCredentials(socketFd: number): PeerCredentials;
  /** SO_PEERPIDFD (Linux 6.5), else `pidfd_open`; undefined when the process is gone. */
  peerPidfd(socketFd: number, pid: number): number | undefined;
  /** `pidfd_open`: whichever process has the number now; undefined when none has. */
  openPidfd(pid: number): number | undefined;
  /** The pid an open pidfd stands for, -1 once it is reaped, 0 when it is not visible from here. */
  pidOf(pidfd: number): number;
  /** Unlike any other process's for the life of the system; undefined before Linux 6.9. */
  processInode(pidfd: number): number | undefined;
  /** `poll(pidfd, 0)` is ready: only this tells a zombie from a living process. */
  hasExited(pidfd: number): boolean;
  /** How the peer's process is pinned. */
  readonly protection: 'peer-pidfd' | 'pidfd-open';
  createExitWatch(): ExitWatch;
}

/** Many pidfds behind one system call. */
export interface ExitWatch {
  add(pidfd: number): void;
  remove(pidfd: number): void;
  /** A bounded number of those whose process has ended; they are told until they are removed. */
  exited(): readonly number[];
  /** Calls once, when some may have ended or some time has passed; one who waits already goes on. */
  wait(then: () => void): void;
  /** Nothing is called any more. */
  close(): void;
}
