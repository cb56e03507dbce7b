import { chmodSync, mkdirSync, realpathSync, statSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { errorText, IdentityError, systemCode } from './errors.ts';

/** Of folders above the socket's own that have to be made. */
const PARENT_MODE = 0o755;

/**
 * Makes the folder of a socket where it is missing. Whoever may write it can put a socket of his own in
 * the place of ours: throws `ERR_SOCKET` when that is anybody but root and ourselves, and when everybody
 * may write a folder above it. Returns a sentence for each folder above it that is another user's to
 * change: a daemon may be started in somebody's home, but should say so.
 */
export function prepareFolder(folder: string, mode: number): readonly string[] {
  makeFolder(folder, mode);
  const stats = statSync(folder);
  if (!stats.isDirectory()) throw new IdentityError('ERR_SOCKET', `${folder} is not a folder`);
  const fault = openToEverybody(stats) ?? openToAnother(stats);
  if (fault) throw unsafeFolder(folder, stats, fault);
  // As it is written and as the kernel walks it.
  const above = [...ancestors(folder), ...ancestors(realpathSync(folder))];
  return checkAncestors(above);
}

/** Makes what is missing, with the mode that was asked for, whatever the umask. */
function makeFolder(folder: string, mode: number): void {
  if (statSync(folder, { throwIfNoEntry: false })) return;
  const parent = dirname(folder);
  makeFolder(parent, PARENT_MODE);
  // Before the chmod: nobody may exchange the folder in between.
  checkAncestors([parent, ...ancestors(parent), ...ancestors(realpathSync(parent))]);
  try {
    mkdirSync(folder, { mode });
  } catch (thrown) {
    // Another daemon, or another socket's folder: it is checked like any other.
    if (systemCode(thrown) === 'EEXIST') return;
    throw new IdentityError('ERR_SOCKET', `cannot create ${folder}: ${errorText(thrown)}`, {
      cause: thrown,
    });
  }
  chmodSync(folder, mode);
}

/** Refuses folders in which everybody may exchange what is ours; returns doubts about the others. */
function checkAncestors(folders: readonly string[]): readonly string[] {
  const doubts: string[] = [];
  for (const folder of new Set(folders)) {
    const stats = statSync(folder);
    // In a sticky folder others cannot rename what is ours; its owner can.
    const sticky = (stats.mode & 0o1000) !== 0;
    const fault = sticky ? undefined : openToEverybody(stats);
    if (fault) throw unsafeFolder(folder, stats, fault);
    const doubt = sticky ? foreignOwner(stats) : openToAnother(stats);
    if (doubt) {
      doubts.push(`${unsafe(folder, stats, doubt)}: another user could replace the socket`);
    }
  }
  return doubts;
}

/** All folders above one, the nearest first. */
function ancestors(folder: string): readonly string[] {
  const above = dirname(folder);
  return above === folder ? [] : [above, ...ancestors(above)];
}

function openToEverybody(stats: Stats): string | undefined {
  return (stats.mode & 0o002) !== 0 ? 'may be written by everybody' : undefined;
}

function openToAnother(stats: Stats): string | undefined {
  const foreignGroup = stats.gid !== 0 && stats.gid !== process.getegid?.();
  const open = (stats.mode & 0o020) !== 0 && foreignGroup;
  return foreignOwner(stats) ?? (open ? `may be written by group ${stats.gid}` : undefined);
}

function foreignOwner({ uid }: Stats): string | undefined {
  return uid === 0 || uid === process.geteuid?.() ? undefined : `belongs to uid ${uid}`;
}

function unsafe(folder: string, stats: Stats, fault: string): string {
  const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0');
  return `folder ${folder} of the socket ${fault} (mode ${mode})`;
}

function unsafeFolder(folder: string, stats: Stats, fault: string): IdentityError {
  return new IdentityError(
    'ERR_SOCKET',
    `${unsafe(folder, stats, fault)}: another user could replace the socket`,
    { hint: foreignOwner(stats) ? OWN_FOLDER : openFolderHint(folder, stats) },
  );
}

const OWN_FOLDER = 'give the socket a folder of its own';

/** What to do about a socket's folder that too many may write. */
export function openFolderHint(folder: string, { mode }: Pick<Stats, 'mode'>): string {
  return isShared(folder, mode) ? OWN_FOLDER : `${OWN_FOLDER}, or: chmod go-w ${folder}`;
}

/** Meant to be written by many, as `/tmp` is, or the system's: others need it as it is. */
function isShared(folder: string, mode: number): boolean {
  return (mode & 0o1000) !== 0 || ['/', '/var', '/dev'].includes(dirname(folder));
}
