import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorText, IdentityError } from './errors.ts';

/**
 * Replaces `path` as a whole or leaves it alone: written beside it, synced, renamed, the folder
 * synced. A reader or a restart after a crash sees the old bytes or the new ones. The umask is
 * taken off `mode`, as everywhere.
 * Throws `ERR_DISK` when the disk is full or the folder cannot be written.
 */
export function writeFileAtomic(path: string, data: Uint8Array | string, mode: number): void {
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    // A file that an ended process of the same pid left would keep its mode and be written through.
    rmSync(temporary, { force: true });
    const fd = openSync(temporary, 'wx', mode);
    try {
      const bytes = typeof data === 'string' ? Buffer.from(data) : data;
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (thrown) {
    try {
      rmSync(temporary, { force: true });
    } catch {
      // The first error is the one that matters.
    }
    throw new IdentityError('ERR_DISK', `cannot write ${path}: ${errorText(thrown)}`, {
      cause: thrown,
    });
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
