import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  statSync,
  type Stats,
} from 'node:fs';
import { dirname } from 'node:path';
import { errorText, IdentityError } from '../core/errors.ts';
import { tryLock } from '../core/file-lock.ts';
import { readTail, type Tail } from './tail.ts';

/** The setting that names the file; every complaint about it does so too. */
const KEY = 'telemetry.audit_log_path';

const GROUP_AND_OTHERS = 0o077;
const OTHER_WRITERS = 0o022;
/** What is appended lands behind what others may have appended; nothing is followed or waited for. */
const OPEN_FLAGS =
  constants.O_RDWR |
  constants.O_APPEND |
  constants.O_CREAT |
  constants.O_NOFOLLOW |
  constants.O_NONBLOCK;

/** An open file of records, locked, and how it ended when it was opened. */
export interface OpenedFile {
  readonly fd: number;
  readonly stats: Stats;
  readonly tail: Tail;
}

/**
 * Opens the file for this process alone, or makes it, 0600. Its folder is made, 0700, unless it is
 * there. Throws `ERR_DISK` when the file or its folder is another user's or open to others, when
 * another process writes to the file, or when its chain cannot be continued.
 */
export function openAuditFile(path: string): OpenedFile {
  openFolder(dirname(path));
  let fd: number;
  try {
    fd = openSync(path, OPEN_FLAGS, 0o600);
  } catch (thrown) {
    throw fault(path, `cannot be opened: ${errorText(thrown)}`, undefined, thrown);
  }
  try {
    const stats = fstatSync(fd);
    checkFile(path, stats);
    if (!tryLock(fd)) {
      throw fault(path, 'is written to by another process', 'one chain has one writer');
    }
    const tail = readTail(fd, stats.size);
    if (typeof tail !== 'string') return { fd, stats, tail };
    throw fault(
      path,
      `cannot be continued: ${tail}`,
      `credence audit verify ${path} shows where it breaks; move it away to begin a new chain`,
    );
  } catch (thrown) {
    closeSync(fd);
    throw thrown instanceof IdentityError
      ? thrown
      : fault(path, `cannot be read: ${errorText(thrown)}`, undefined, thrown);
  }
}

/** Others may look into the folder, as into that of other logs: the file is what they must not read. */
function openFolder(folder: string): void {
  let stats: Stats;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    stats = statSync(folder);
  } catch (thrown) {
    const hint = 'create the folder, owned by the user that runs credence';
    throw fault(folder, `cannot be used: ${errorText(thrown)}`, hint, thrown);
  }
  const own = process.geteuid?.();
  if (stats.uid !== own && stats.uid !== 0) throw notOwned(folder, stats.uid);
  if ((stats.mode & OTHER_WRITERS) !== 0) {
    throw fault(folder, `has mode ${octal(stats)}, others may write to it`, `chmod go-w ${folder}`);
  }
}

function checkFile(path: string, stats: Stats): void {
  if (!stats.isFile()) throw fault(path, 'is not a regular file');
  if (stats.uid !== process.geteuid?.()) throw notOwned(path, stats.uid);
  if ((stats.mode & GROUP_AND_OTHERS) !== 0) {
    throw fault(path, `has mode ${octal(stats)}, others may reach it`, `chmod 0600 ${path}`);
  }
  // A second name is how others keep a hold on it (hard links).
  if (stats.nlink > 1) throw fault(path, `has ${stats.nlink} names, expected one`);
}

const octal = ({ mode }: Stats) => (mode & 0o7777).toString(8).padStart(4, '0');

function notOwned(path: string, uid: number): IdentityError {
  const own = process.geteuid?.() ?? -1;
  return fault(path, `belongs to uid ${uid}, not to uid ${own}`, `chown ${own} ${path}`);
}

/** What is wrong with the file, with the setting that names it. */
export function fault(path: string, what: string, hint?: string, cause?: unknown): IdentityError {
  return new IdentityError('ERR_DISK', `${KEY}: ${path} ${what}`, {
    hint: hint ?? `${KEY} names the file of the audit records, without it there are none`,
    ...(cause === undefined ? {} : { cause }),
  });
}
