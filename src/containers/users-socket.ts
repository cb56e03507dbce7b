import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { errno, libc } from '../core/libc.ts';

/** Where a user's own engine listens. */
export interface UsersGround {
  readonly uid: number;
  /** The folder above all that is in the user's hands. */
  readonly below: string;
}

/** A socket that stays the same whatever its user does to the path. */
export interface HeldSocket {
  /** To connect to, as long as it is not closed. */
  readonly path: string;
  close(): void;
}

// The constants of include/uapi for x86-64 and arm64.
const SYS_OPENAT2 = 437;
const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
const RESOLVE = { noXdev: 1, noMagicLinks: 2, noSymlinks: 4, beneath: 8 };
const STAYS = RESOLVE.beneath | RESOLVE.noSymlinks | RESOLVE.noMagicLinks;
/** File systems that the kernel answers for by itself. */
const LOCAL = ['tmpfs', 'ext4', 'xfs', 'btrfs', 'overlay'];

/**
 * Finds the socket of a user's own engine. Whoever looks a path up waits for the file systems on it,
 * and one of a user's own (FUSE) need never answer: so no link is followed, the user's folder may be
 * mounted but must be on a file system of the kernel's, and nothing may be mounted below it. None of
 * these steps asks the file system that they refuse. Rejects with what is wrong with the path.
 */
export async function holdUsersSocket(path: string, ground: UsersGround): Promise<HeldSocket> {
  const { uid, below } = ground;
  const [first = '', ...rest] = path
    .slice(below.length)
    .split('/')
    .filter((segment) => segment !== '');
  const trusted = openSync(below, O_PATH | constants.O_DIRECTORY);
  let entry = -1;
  let socket = -1;
  try {
    entry = openBelow(trusted, first, STAYS);
    const kind = await fileSystemOf(entry);
    if (!LOCAL.includes(kind)) throw new Error(`it is on a file system of the kind ${kind}`);
    if (rest.length > 0) socket = openBelow(entry, rest.join('/'), STAYS | RESOLVE.noXdev);
    else [socket, entry] = [entry, -1];
    const stats = fstatSync(socket);
    if (!stats.isSocket() || stats.uid !== uid) throw new Error(`it is not a socket of uid ${uid}`);
    const held = socket;
    socket = -1;
    return { path: `/proc/self/fd/${held}`, close: () => closeSync(held) };
  } finally {
    for (const fd of [trusted, entry, socket]) if (fd >= 0) closeSync(fd);
  }
}

const REASONS: Readonly<Record<number, string>> = {
  1: 'credence is not let look at it (openat2)',
  2: 'there is no such socket',
  13: 'credence may not connect there',
  18: 'something is mounted on the way',
  20: 'there is no such socket',
  38: 'this kernel is older than Linux 5.6, or keeps openat2 from credence',
  40: 'a symbolic link is on the way',
};

function openBelow(folder: number, path: string, resolve: number): number {
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(O_PATH | O_CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(resolve), 16);
  const fd = libc().openat2(SYS_OPENAT2, folder, path, how, how.length);
  if (fd >= 0) return fd;
  const reason = errno();
  throw new Error(REASONS[reason] ?? `it cannot be opened (errno ${reason})`);
}

/** By the mount that it came through: to ask the file system itself would be to wait for it. */
async function fileSystemOf(fd: number): Promise<string> {
  const info = await readFile(`/proc/self/fdinfo/${fd}`, 'latin1');
  const id = /^mnt_id:\s*(\d+)$/m.exec(info)?.[1] ?? 'none';
  const mounts = await readFile('/proc/self/mountinfo', 'latin1');
  const mount = mounts.split('\n').find((line) => line.startsWith(`${id} `));
  return / - (\S+) /.exec(mount ?? '')?.[1] ?? 'unknown';
}
