import {
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { errorText, IdentityError } from './errors.ts';
import { systemRandom } from './random.ts';

/** Makes a file, never opens one: not what another left there, not what a link leads to. */
const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/**
 * Replaces `path` as a whole or leaves it alone: written beside it, synced, renamed, the folder
 * synced. A reader or a restart after a crash sees the old bytes or the new ones. The file has
 * exactly `mode`, whatever the umask; a link at `path` is replaced, not followed.
 * Throws `ERR_DISK` when the disk is full or the folder cannot be written.
 */
export function writeFileAtomic(path: string, data: Uint8Array | string, mode: number): void {
  // Nobody who may write in the folder can know the name and stand in the way. Digits alone, by
  // which whoever tidies the folder knows what a crash left.
  const temporary = `${path}.tmp-${systemRandom.bytes(6).readUIntBE(0, 6)}`;
  try {
    const fd = openSync(temporary, CREATE, 0o600);
    try {
      fill(fd, typeof data === 'string' ? Buffer.from(data) : data, mode);
      renameSync(temporary, path);
    } catch (thrown) {
      removeQuietly(temporary);
      throw thrown;
    }
    syncFolder(dirname(path));
  } catch (thrown) {
    throw new IdentityError('ERR_DISK', `cannot write ${path}: ${errorText(thrown)}`, {
      cause: thrown,
    });
  }
}

/** Writes, syncs and closes; the mode comes before the bytes that it guards. */
function fill(fd: number, bytes: Uint8Array, mode: number): void {
  try {
    fchmodSync(fd, mode);
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // The first error is the one that matters.
  }
}

function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
