import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import type { Clock } from '../core/clock.ts';
import { errorText } from '../core/errors.ts';
import { createReloadSchedule } from '../core/reload-schedule.ts';
import { visitFiles, watchFolders } from '../core/watch-folders.ts';
import type { RootsSink } from './known-roots.ts';

const MAX_BYTES = 262_144;
/** Who may write it says whom everybody trusts. */
const OTHERS_WRITE = 0o022;

/** Reads a file of roots, and again whenever it changes; returns how to stop. */
export function followRootsFile(path: string, roots: RootsSink, clock: Clock): () => void {
  const schedule = createReloadSchedule(clock, () => {
    if (look()) schedule.good();
    else schedule.refused();
    return Promise.resolve();
  });
  const watch = watchFolders(schedule.changed, () => schedule.blind());

  /** Watched before it is read: what changes in between is seen. */
  function look(): boolean {
    watch.rearm((onFolder) => visitFiles([path], onFolder));
    try {
      return roots.take(read(path));
    } catch (thrown) {
      roots.missing(`cannot read ${path}: ${errorText(thrown)}`);
      return false;
    }
  }

  if (!look()) schedule.refused();
  return () => {
    schedule.close();
    watch.close();
  };
}

function read(path: string): string {
  // Neither waits for a pipe nor reads a device that never ends.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw new Error('it is not a regular file');
    if (stats.size > MAX_BYTES) {
      throw new Error(`it has ${stats.size} bytes, at most ${MAX_BYTES} are expected`);
    }
    if (stats.uid !== 0 && stats.uid !== process.geteuid?.()) {
      throw new Error('it belongs to another user, expected root or this one');
    }
    if ((stats.mode & OTHERS_WRITE) !== 0) throw new Error('other users may write it');
    return readFileSync(fd, 'latin1');
  } finally {
    closeSync(fd);
  }
}
