import { closeSync, fsyncSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorText, IdentityError } from './errors.ts';

/**
 * Replaces `path` as a whole or leaves it alone: written beside it, synced, renamed, the folder
 * synced. A reader or a restart after a crash sees the old bytes or the new ones.
 * Throws `ERR_DISK` when the disk is full or the folder cannot be written.
 */
export function writeFileAtomic(path: string, data: Uint8Array | string, mode: number): void {
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    const fd = openSync(temporary, 'w', mode);
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
      unlinkSync(temporary);
    } catch {
      // It may never have been created; the first error is the one that matters.
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
