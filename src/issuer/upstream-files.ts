import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { errorText, IdentityError, systemCode } from '../core/errors.ts';

/** Where an issuing CA from elsewhere is. */
export interface UpstreamFiles {
  /** PEM: the issuing CA first, then what is between it and its root. */
  readonly certFile: string;
  /** PEM: its private key. */
  readonly keyFile: string;
  /** PEM: the root, and others that are to be trusted. */
  readonly bundleFile: string;
}

/** What is in them. Whoever reads the key wipes it. */
export interface UpstreamTexts {
  readonly certs: Buffer;
  readonly key: Buffer;
  readonly bundle: Buffer;
}

const MAX_BYTES = 262_144;
/** Files that are replaced one by one while they are read. */
const ATTEMPTS = 3;
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK;
const OTHERS = 0o007;
const WRITERS = 0o022;

/**
 * Reads the three as they are at one moment. Links are followed: a mounted Secret consists of them.
 * Throws `ERR_KEY_STORE` for what is missing, no file, too large, or not safe from other users: each
 * has to belong to root or to this user and be written by nobody else, and the key may be read by its
 * group (`fsGroup` of a pod makes it so) but by no others.
 */
export function readUpstreamFiles(files: UpstreamFiles, readOnce = readFrom): UpstreamTexts {
  for (let attempt = 1; ; attempt++) {
    const texts = readAtOnce(files, readOnce);
    if (texts) return texts;
    if (attempt === ATTEMPTS) throw unreadable(files.keyFile, 'it changes while it is read');
  }
}

/**
 * One file by the same rules: as others may read it, or what is `secret` in it may not be reached by
 * any. Throws `ERR_KEY_STORE`. Whoever reads a secret wipes it.
 */
export function readSafeFile(path: string, secret?: string): Buffer {
  const forbidden = secret === undefined ? WRITERS : OTHERS | WRITERS;
  return read(path, forbidden, readFrom, secret).bytes;
}

/** Undefined when one of them is another file by the time that the last one is read. */
function readAtOnce(files: UpstreamFiles, readOnce: ReadOnce): UpstreamTexts | undefined {
  // The key last: nothing of it is in memory when another file is no good.
  const certs = read(files.certFile, WRITERS, readOnce);
  const bundle = read(files.bundleFile, WRITERS, readOnce);
  const key = read(files.keyFile, OTHERS | WRITERS, readOnce);
  let same = false;
  try {
    same = [key, certs, bundle].every((one) => isStill(one));
  } finally {
    if (!same) key.bytes.fill(0);
  }
  return same ? { key: key.bytes, certs: certs.bytes, bundle: bundle.bytes } : undefined;
}

/** Reads into all of `into` what comes next; as `readSync`. */
type ReadOnce = (fd: number, into: Uint8Array) => number;

const readFrom: ReadOnce = (fd, into) => readSync(fd, into);

interface Reading {
  readonly path: string;
  readonly stats: Stats;
  readonly bytes: Buffer;
}

function read(path: string, forbidden: number, readOnce: ReadOnce, secret = 'the key'): Reading {
  let fd;
  try {
    fd = openSync(path, OPEN_FLAGS);
  } catch (thrown) {
    throw unreadable(path, errorText(thrown), thrown);
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw unreadable(path, 'it is not a regular file');
    if (stats.size > MAX_BYTES) {
      throw unreadable(path, `it has ${stats.size} bytes, at most ${MAX_BYTES} are expected`);
    }
    checkAccess(path, stats, forbidden, secret);
    return { path, stats, bytes: readAll(path, fd, readOnce) };
  } catch (thrown) {
    if (thrown instanceof IdentityError) throw thrown;
    throw unreadable(path, errorText(thrown), thrown);
  } finally {
    closeSync(fd);
  }
}

/** No more than is expected, however much the file has grown since its size was looked at. */
function readAll(path: string, fd: number, readOnce: ReadOnce): Buffer {
  // Of its own memory: what is left of a key in the pool would go to whoever asks next.
  const bytes = Buffer.allocUnsafeSlow(MAX_BYTES + 1);
  let size = 0;
  try {
    for (let more = 1; more > 0 && size < bytes.length; size += more) {
      more = readOnce(fd, bytes.subarray(size));
    }
    if (size <= MAX_BYTES) return bytes.subarray(0, size);
    throw unreadable(path, `it grows while it is read, at most ${MAX_BYTES} bytes are expected`);
  } catch (thrown) {
    bytes.fill(0);
    throw thrown;
  }
}

function checkAccess(path: string, { uid, mode }: Stats, forbidden: number, secret: string): void {
  const own = process.geteuid?.() ?? -1;
  if (uid !== 0 && uid !== own) {
    throw new IdentityError(
      'ERR_KEY_STORE',
      `${path} belongs to uid ${uid}, expected root or uid ${own}`,
      { hint: `chown root ${path}`, cause: new OfAnotherUser() },
    );
  }
  if ((mode & forbidden) === 0) return;
  const actual = (mode & 0o7777).toString(8).padStart(4, '0');
  const isKey = (forbidden & OTHERS) === OTHERS;
  throw new IdentityError(
    'ERR_KEY_STORE',
    isKey
      ? `${path} has mode ${actual}, others may reach ${secret}: expected 0440 or less`
      : `${path} has mode ${actual}, others may write it: expected 0644 or less`,
    {
      hint: isKey
        ? `chmod 0400 ${path}, or in a pod defaultMode: 0400 of the Secret's volume`
        : `chmod go-w ${path}`,
    },
  );
}

class OfAnotherUser extends Error {}

/** Whether it depends on who asks that the files are no good: another user may find them so. */
export function isOfThisUser({ cause }: IdentityError): boolean {
  return cause instanceof OfAnotherUser || systemCode(cause) === 'EACCES';
}

function isStill({ path, stats }: Reading): boolean {
  const now = statSync(path, { throwIfNoEntry: false });
  return (
    now?.ino === stats.ino &&
    now.dev === stats.dev &&
    now.mtimeMs === stats.mtimeMs &&
    now.size === stats.size
  );
}

function unreadable(path: string, why: string, cause?: unknown): IdentityError {
  return new IdentityError('ERR_KEY_STORE', `cannot read ${path}: ${why}`, { cause });
}
