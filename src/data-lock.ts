import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { errorText, IdentityError } from './core/errors.ts';
import { tryLock } from './core/file-lock.ts';
import { ensurePrivateFolder } from './issuer/private-files.ts';

/** Opens what is there without waiting for anything: a pipe or a device would keep us for ever. */
const OPEN_FLAGS =
  constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Keeps other daemons out of a data folder until the returned function is called: two of them would
 * sign with one CA and write one journal. Makes the folder if there is none. Throws
 * `ERR_ALREADY_RUNNING`, `ERR_KEY_STORE` when others may reach the folder, or `ERR_DISK`.
 */
export function lockDataFolder(folder: string): () => void {
  // Before anything in it is opened: in a folder of others the lock may be their link.
  ensurePrivateFolder(folder);
  const fd = openLock(join(folder, 'lock'));
  if (tryLock(fd)) return () => closeSync(fd);
  closeSync(fd);
  throw new IdentityError('ERR_ALREADY_RUNNING', `another credence is running with ${folder}`);
}

function openLock(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, OPEN_FLAGS, 0o600);
  } catch (thrown) {
    throw new IdentityError('ERR_DISK', `cannot open ${path}: ${errorText(thrown)}`, {
      cause: thrown,
    });
  }
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw new IdentityError('ERR_DISK', `cannot lock ${path}: it is not a regular file`, {
    hint: 'move it away, credence makes an empty one',
  });
}
