import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { IdentityError } from '../core/errors.ts';
import type { PeerCredentials } from '../identity/caller.ts';
import type { Kernel } from './kernel.ts';

/** Files of `/proc/<pid>` that attestation reads; all are world-readable. */
export type ProcFile = 'status' | 'stat' | 'cgroup';

/**
 * A process, pinned: the pidfd and the open `/proc/<pid>` folder stand for this one process whatever
 * becomes of its number.
 */
export interface Peer {
  readonly credentials: PeerCredentials;
  readonly pidfd: number;
  /** Unlike any other process, also one with the same pid, and unlike itself after setuid. */
  readonly key: string;
  hasExited(): boolean;
  /** Whether it still runs with the user and group it connected with. */
  keepsCredentials(): boolean;
  /** One file of its `/proc` folder. Latin-1: the kernel passes any byte of a name through. */
  read(file: ProcFile): string;
  /** Path to its executable's link that cannot be redirected by pid reuse. */
  readonly executableLink: string;
  close(): void;
}

/** What is known about the other end of a socket right after accept. */
export type Identified =
  | { readonly kind: 'peer'; readonly peer: Peer }
  /** No pid in our namespace: the daemon runs without the host's pid namespace. */
  | { readonly kind: 'hidden' }
  | { readonly kind: 'gone' };

/**
 * Pins the peer of an accepted socket, synchronously, before anything else can happen. A pid cannot
 * be reused before its owner is reaped, so a pidfd that is still unready *after* the folder was
 * opened proves that the folder belongs to the same process.
 */
export function identifyPeer(
  socketFd: number,
  credentials: PeerCredentials,
  kernel: Kernel,
): Identified {
  const { pid } = credentials;
  if (pid <= 0) return { kind: 'hidden' };
  const pidfd = kernel.peerPidfd(socketFd, pid);
  if (pidfd === undefined) return { kind: 'gone' };
  let folder: number | undefined;
  try {
    const seen = kernel.pidOf(pidfd);
    if (seen === 0) return release({ kind: 'hidden' });
    if (seen !== pid || kernel.hasExited(pidfd)) return release({ kind: 'gone' });
    folder = openSync(`/proc/${pid}`, 'r');
    if (kernel.hasExited(pidfd)) return release({ kind: 'gone' });
    return { kind: 'peer', peer: pinned(pidfd, folder, credentials, kernel) };
  } catch {
    return release({ kind: 'gone' });
  }

  function release(answer: Identified): Identified {
    if (folder !== undefined) closeSync(folder);
    if (pidfd !== undefined) closeSync(pidfd);
    return answer;
  }
}

function pinned(pidfd: number, folder: number, credentials: PeerCredentials, kernel: Kernel): Peer {
  const base = `/proc/self/fd/${folder}`;
  const read = (file: ProcFile) => readFileSync(`${base}/${file}`, 'latin1');
  const { pid, uid, gid } = credentials;
  // Since Linux 6.9 the inode of a pidfd is unique for the life of the system.
  const key = [pid, startTime(read('stat')), fstatSync(pidfd).ino, uid, gid].join('.');
  let owner: string | undefined;
  let closed = false;
  return {
    credentials,
    pidfd,
    key,
    hasExited: () => closed || kernel.hasExited(pidfd),
    keepsCredentials() {
      // The folder's owner follows the effective ids (or root, once not dumpable), and costs a
      // tenth of reading the status; only when it moved the status has to be read again.
      const stats = fstatSync(folder);
      const now = `${stats.uid}.${stats.gid}`;
      if (now === owner) return true;
      const ids = effectiveIds(read('status'));
      if (ids.uid !== uid || ids.gid !== gid) return false;
      owner = now;
      return true;
    },
    read,
    executableLink: `${base}/exe`,
    close() {
      if (closed) return;
      closed = true;
      closeSync(folder);
      closeSync(pidfd);
    },
  };
}

/** Field 22 of `/proc/<pid>/stat`; the name before it may hold blanks and parentheses. */
export function startTime(stat: string): string {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields[19];
  if (ticks === undefined || !/^\d+$/.test(ticks)) throw malformed('stat');
  return ticks;
}

/** Effective user and group of `/proc/<pid>/status`. */
export function effectiveIds(status: string): { uid: number; gid: number } {
  return { uid: effective('Uid', status), gid: effective('Gid', status) };
}

function effective(label: 'Uid' | 'Gid', status: string): number {
  const match = new RegExp(`^${label}:\\t\\d+\\t(\\d+)\\t\\d+\\t\\d+$`, 'm').exec(status);
  if (!match) throw malformed('status');
  return Number(match[1]);
}

/** Supplementary groups of `/proc/<pid>/status`. */
export function supplementaryGroups(status: string): number[] {
  const match = /^Groups:\t([\d ]*)$/m.exec(status);
  if (!match) throw malformed('status');
  return (match[1] ?? '').split(' ').filter(Boolean).map(Number);
}

function malformed(file: ProcFile): IdentityError {
  return new IdentityError('ERR_ATTESTATION', `/proc/<pid>/${file} does not read as expected`);
}
