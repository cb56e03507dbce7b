import { accessSync, constants, statSync, type Stats } from 'node:fs';
import { systemCode } from '../core/errors.ts';

/**
 * Who may grant any identity because a configuration, a document or a folder of them lies open to
 * them, and what to do about it; undefined when that is its owner alone.
 */
export function writableDoubt(
  path: string,
  kind: 'file' | 'folder',
  stats: Pick<Stats, 'mode' | 'uid' | 'gid'>,
): string | undefined {
  const who = otherWriters(stats);
  if (who === undefined || isReadOnly(path)) return undefined;
  return `${who} may write the ${kind}, so grant any identity: chmod go-w ${path}`;
}

/** The same of what is at a path; of what is not there nothing is said. */
export function writableDoubtAt(path: string, kind: 'file' | 'folder'): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats && writableDoubt(path, kind, stats);
}

/** A sticky folder is as open as another: whoever may add a document grants by it. */
function otherWriters({ mode, uid, gid }: Pick<Stats, 'mode' | 'uid' | 'gid'>): string | undefined {
  if ((mode & constants.S_IWOTH) !== 0) return 'every user of this machine';
  if ((mode & constants.S_IWGRP) === 0 || isOwnGroup(uid, gid)) return undefined;
  return `group ${gid}`;
}

/** Root's, the group that bears the number of its one user, or ours if the file is ours. */
function isOwnGroup(uid: number, gid: number): boolean {
  return gid === 0 || gid === uid || (uid === process.geteuid?.() && gid === process.getegid?.());
}

/** Kubernetes mounts a ConfigMap with mode 0777, and read-only. */
function isReadOnly(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return false;
  } catch (thrown) {
    return systemCode(thrown) === 'EROFS';
  }
}
