import { readlinkSync } from 'node:fs';
import { libc } from '../core/libc.ts';

// include/uapi/linux/fcntl.h and stat.h.
const AT_FDCWD = -100;
const AT_STATX_DONT_SYNC = 0x4000;
const STATX_INO = 0x100;
const STATX_BTIME = 0x800;
/** `struct statx` and what of it tells files apart: inode, time of making, device. */
const STATX = { bytes: 256, ino: [32, 40], made: [80, 92], device: [136, 144] } as const;

/** The kernel adds it when the file has been removed or replaced since: no other file by that. */
const DELETED = ' (deleted)';

const scratch = Buffer.alloc(STATX.bytes);

/**
 * What tells one program from another: the file and its path. Undefined where the kernel does not
 * say, as of a process that has ended. Takes some ten microseconds and never waits: neither the link's
 * text nor attributes that need not be fresh are asked of a file system, whose owner may be the
 * process's own user and never answer.
 *
 * @param link to an executable or an open file, in /proc.
 */
export function programAt(link: string): string | undefined {
  const failed = libc().statx(
    AT_FDCWD,
    link,
    AT_STATX_DONT_SYNC,
    STATX_INO | STATX_BTIME,
    scratch.fill(0),
  );
  if (failed !== 0) return undefined;
  const { ino, made, device } = STATX;
  const file = [device, ino, made].map(([from, to]) => scratch.toString('hex', from, to)).join('.');
  try {
    return `${file} ${withoutSuffix(readlinkSync(link))}`;
  } catch {
    return undefined;
  }
}

function withoutSuffix(path: string): string {
  return path.endsWith(DELETED) ? path.slice(0, -DELETED.length) : path;
}
