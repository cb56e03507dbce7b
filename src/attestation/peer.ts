import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { IdentityError, systemCode } from '../core/errors.ts';
import { MAX_PID, type PeerCredentials } from '../identity/caller.ts';
import type { Kernel } from './kernel.ts';

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
  /**
   * Whether it runs with the user and group it connected with; never throws. Says nothing of a
   * process that has ended: ask `hasExited` too.
   */
  keepsCredentials(): boolean;
  /**
   * Its `/proc/<pid>/status`; throws `ERR_PEER_GONE` when that shows another user or group than the
   * one that connected.
   */
  status(): string;
  /** Its `/proc/<pid>/cgroup`, in latin-1; throws like the file system does. */
  cgroup(): string;
  /** When it began, in clock ticks since the system did; throws like the file system does. */
  startTicks(): number;
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
 * opened proves that the folder belongs to the same process. Throws when the daemon itself is short
 * of something, as of descriptors.
 */
export function identifyPeer(
  socketFd: number,
  credentials: PeerCredentials,
  kernel: Kernel,
): Identified {
  const { pid } = credentials;
  if (pid <= 0) return { kind: 'hidden' };
  const pidfd = kernel.peerPidfd(socketFd, pid);
  // The kernel's own pidfd of the peer needs no second look at its number.
  const sure = kernel.protection === 'peer-pidfd';
  return pin(pidfd, { pid, sure, credentialsOf: () => credentials }, kernel);
}

/**
 * Pins the process that has this number now, as `identifyPeer` does a peer, with the user and group
 * it runs with now.
 */
export function identifyPid(pid: number, kernel: Kernel): Identified {
  // 0 and below name groups of processes to the kernel, or nobody.
  if (!Number.isInteger(pid) || pid <= 0 || pid > MAX_PID) return { kind: 'gone' };
  const credentialsOf = (base: string) => ({ pid, ...effectiveIds(readProc(`${base}/status`)) });
  return pin(kernel.openPidfd(pid), { pid, sure: false, credentialsOf }, kernel);
}

/** What is known of a process before its `/proc/<pid>` folder is open. */
interface Pinning {
  readonly pid: number;
  /** The pidfd cannot be another process's than that of the number. */
  readonly sure: boolean;
  /** @param base path of the open folder. */
  credentialsOf(base: string): PeerCredentials;
}

function pin(pidfd: number | undefined, pinning: Pinning, kernel: Kernel): Identified {
  if (pidfd === undefined) return { kind: 'gone' };
  const { pid, sure } = pinning;
  let folder: number | undefined;
  try {
    if (!sure && kernel.pidOf(pidfd) !== pid) return release({ kind: 'gone' });
    folder = openSync(`/proc/${pid}`, 'r');
    if (kernel.hasExited(pidfd)) return release({ kind: 'gone' });
    const credentials = pinning.credentialsOf(folderPath(folder));
    return { kind: 'peer', peer: pinned(pidfd, folder, credentials, kernel) };
  } catch (thrown) {
    const gone = release({ kind: 'gone' });
    const code = systemCode(thrown);
    if (code === 'ENOENT' || code === 'ESRCH') return gone;
    throw thrown;
  }

  function release(answer: Identified): Identified {
    if (folder !== undefined) closeSync(folder);
    if (pidfd !== undefined) closeSync(pidfd);
    return answer;
  }
}

function folderPath(folder: number): string {
  return `/proc/self/fd/${folder}`;
}

function pinned(pidfd: number, folder: number, credentials: PeerCredentials, kernel: Kernel): Peer {
  const base = folderPath(folder);
  const { pid, uid, gid } = credentials;
  const identity = kernel.processInode(pidfd) ?? `${pid}.${startTicks()}`;
  let closed = false;

  function startTicks(): number {
    return Number(startTime(readProc(`${base}/stat`)));
  }

  return {
    credentials,
    pidfd,
    key: `${identity}.${uid}.${gid}`,
    hasExited: () => closed || kernel.hasExited(pidfd),
    keepsCredentials() {
      // /proc/<pid> itself, unlike the files in it, belongs to the effective ids also when the
      // process is not dumpable, and to root once it is reaped. A tenth of the cost of its status.
      try {
        const owner = closed ? undefined : fstatSync(folder);
        return owner?.uid === uid && owner.gid === gid;
      } catch {
        // Mounted with hidepid, /proc may take the process out of sight.
        return false;
      }
    },
    status() {
      if (closed) throw new IdentityError('ERR_PEER_GONE', 'the process has ended');
      const status = readProc(`${base}/status`);
      const ids = effectiveIds(status);
      if (ids.uid === uid && ids.gid === gid) return status;
      throw new IdentityError('ERR_PEER_GONE', credentialsChanged(credentials));
    },
    cgroup: () => readProc(`${base}/cgroup`),
    startTicks,
    executableLink: `${base}/exe`,
    close() {
      if (closed) return;
      closed = true;
      closeSync(folder);
      closeSync(pidfd);
    },
  };
}

/** What is said of a process that changed its user or group after it connected. */
export function credentialsChanged({ uid, gid }: PeerCredentials): string {
  return `the process no longer runs with uid ${uid} gid ${gid}, as when it connected`;
}

/** Nearly every status fits in; what is longer takes more than one read. */
const scratch = Buffer.alloc(4096);

/** Latin-1: the kernel passes any byte of a name through. Half of what `readFileSync` takes. */
function readProc(path: string): string {
  const fd = openSync(path, 'r');
  try {
    let text = '';
    for (let bytes = -1; bytes !== 0;) {
      bytes = readSync(fd, scratch);
      text += scratch.toString('latin1', 0, bytes);
    }
    return text;
  } finally {
    closeSync(fd);
  }
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
  return { uid: effective(line('Uid', status)), gid: effective(line('Gid', status)) };
}

function effective(ids: string): number {
  const match = /^\d+\t(\d+)\t\d+\t\d+$/.exec(ids);
  if (!match) throw malformed('status');
  return Number(match[1]);
}

/** The line of `/proc/<pid>/status` that names the supplementary groups. */
export function groupsLine(status: string): string {
  return line('Groups', status);
}

/** Supplementary groups of `/proc/<pid>/status`. */
export function supplementaryGroups(status: string): number[] {
  const groups = groupsLine(status);
  if (!/^[\d ]*$/.test(groups)) throw malformed('status');
  return groups.split(' ').filter(Boolean).map(Number);
}

/** What a line holds after its label; the first line, which has the process's name, is none. */
function line(label: 'Uid' | 'Gid' | 'Groups', status: string): string {
  const head = `\n${label}:\t`;
  const at = status.indexOf(head);
  const end = at < 0 ? -1 : status.indexOf('\n', at + head.length);
  if (end < 0) throw malformed('status');
  return status.slice(at + head.length, end);
}

function malformed(file: 'status' | 'stat'): IdentityError {
  return new IdentityError('ERR_ATTESTATION', `/proc/<pid>/${file} does not read as expected`);
}
