import { IdentityError } from './errors.ts';
import { errno, libc } from './libc.ts';

// include/uapi/asm-generic/fcntl.h and errno-base.h, the same on x86-64 and arm64.
const LOCK_EX_NB = 2 | 4;
const EWOULDBLOCK = 11;

/** Takes an exclusive lock on an open file until it is closed; false when somebody else holds it. */
export function tryLock(fd: number): boolean {
  if (libc().flock(fd, LOCK_EX_NB) === 0) return true;
  if (errno() === EWOULDBLOCK) return false;
  throw new IdentityError('ERR_DISK', `the file cannot be locked (errno ${errno()})`);
}
