import { closeSync, constants, fstatSync, mkdirSync, openSync, readSync, statSync } from 'node:fs';
import { errorText, IdentityError, systemCode } from '../core/errors.ts';

const OTHERS = 0o077;
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Makes sure that `path` is a folder of this user that nobody else may enter; creates it 0700.
 * Throws `ERR_KEY_STORE`, or `ERR_DISK` when it cannot be created.
 */
export function ensurePrivateFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (thrown) {
    throw new IdentityError('ERR_DISK', `cannot create ${path}: ${errorText(thrown)}`, {
      cause: thrown,
      hint: 'create the folder, owned by the user that runs credence, or change data_dir',
    });
  }
  const stats = statSync(path);
  checkOwner(path, stats.uid);
  if ((stats.mode & OTHERS) !== 0) throw tooOpen(path, stats.mode, '0700');
}

/**
 * Reads a file that holds secrets, or returns undefined when there is none. Throws `ERR_KEY_STORE`
 * when it is a link, not a file, larger than `maxBytes`, of another user or open to others.
 */
export function readPrivateFile(path: string, maxBytes: number): Buffer | undefined {
  let fd;
  try {
    fd = openSync(path, OPEN_FLAGS);
  } catch (thrown) {
    if (systemCode(thrown) === 'ENOENT') return undefined;
    throw unreadable(path, errorText(thrown), thrown);
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw unreadable(path, 'it is not a regular file');
    checkOwner(path, stats.uid);
    if ((stats.mode & OTHERS) !== 0) throw tooOpen(path, stats.mode, '0600');
    if (stats.size > maxBytes) {
      throw unreadable(path, `it has ${stats.size} bytes, at most ${maxBytes} are expected`);
    }
    return readAll(path, fd, stats.size);
  } finally {
    closeSync(fd);
  }
}

function readAll(path: string, fd: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(size);
  try {
    let at = 0;
    for (let read = 1; read > 0 && at < size; at += read)
      read = readSync(fd, bytes, at, size - at, at);
    return bytes.subarray(0, at);
  } catch (thrown) {
    throw unreadable(path, errorText(thrown), thrown);
  }
}

function checkOwner(path: string, uid: number): void {
  const own = process.geteuid?.();
  if (uid === own) return;
  throw new IdentityError(
    'ERR_KEY_STORE',
    `${path} belongs to uid ${uid}, not to uid ${own ?? -1}`,
    {
      hint: `set data_dir to a folder of this user, run credence as uid ${uid}, or: chown -R ${own ?? 'USER'} ${path}`,
    },
  );
}

function tooOpen(path: string, mode: number, wanted: string): IdentityError {
  const actual = (mode & 0o7777).toString(8).padStart(4, '0');
  return new IdentityError('ERR_KEY_STORE', `${path} has mode ${actual}, others may reach it`, {
    hint: `if nobody can have read it: chmod ${wanted} ${path}`,
  });
}

function unreadable(path: string, why: string, cause?: unknown): IdentityError {
  return new IdentityError('ERR_KEY_STORE', `cannot read ${path}: ${why}`, { cause });
}
