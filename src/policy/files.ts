import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { errorText, IdentityError } from '../core/errors.ts';
import { decodeText } from '../core/yaml.ts';

/** One text takes no more: 100,000 entries of SPIRE's JSON are half of it. */
export const MAX_DOCUMENT_BYTES = 64 * 1024 * 1024;
/** All of a policy's texts together. */
export const MAX_POLICY_BYTES = 256 * 1024 * 1024;

const SUFFIX = /\.(?:yaml|yml|json)$/;

/** Whether a folder's member of this name is read: dotfiles (Kubernetes' `..data`) are not. */
export function isDocumentName(name: string): boolean {
  return SUFFIX.test(name) && !name.startsWith('.');
}

/**
 * The files a configured path stands for: itself, or a folder's documents in the order of their
 * names' bytes. Links are followed, folders in the folder are not. Throws `ERR_POLICY`.
 */
export function listDocuments(path: string): { folder: boolean; files: readonly string[] } {
  try {
    if (!statSync(path).isDirectory()) return { folder: false, files: [path] };
    const files = readdirSync(path)
      .filter(isDocumentName)
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      .map((name) => join(path, name))
      // A link to nowhere stays in the list: reading it says which file it is.
      .filter((file) => !statSync(file, { throwIfNoEntry: false })?.isDirectory());
    return { folder: true, files };
  } catch (thrown) {
    throw unreadable(path, thrown);
  }
}

/** A document's text. Throws `ERR_POLICY`; a pipe or a device is refused, not waited for. */
export function readDocumentText(
  path: string,
  maxBytes: number,
): { text: string; bytes: number; writableByOthers: boolean } {
  const { data, mode } = readBytes(path, maxBytes);
  const text = decodeText(data, path, { code: 'ERR_POLICY', maxBytes });
  return { text, bytes: data.length, writableByOthers: (mode & constants.S_IWOTH) !== 0 };
}

function readBytes(path: string, maxBytes: number): { data: Buffer; mode: number } {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const { mode, size } = checkedStat(fd, path);
      if (size > maxBytes) throw tooLarge(path, size, maxBytes);
      return { data: readFileSync(fd), mode };
    } finally {
      closeSync(fd);
    }
  } catch (thrown) {
    if (thrown instanceof IdentityError) throw thrown;
    throw unreadable(path, thrown);
  }
}

function checkedStat(fd: number, path: string): { mode: number; size: number } {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw new IdentityError('ERR_POLICY', `${path}: it is not a regular file`);
  return stat;
}

function tooLarge(path: string, size: number, maxBytes: number): IdentityError {
  const message = `${path}: it has ${size} bytes, at most ${maxBytes} are allowed`;
  return new IdentityError('ERR_POLICY', message);
}

function unreadable(path: string, thrown: unknown): IdentityError {
  const message = `cannot read the policy ${path}: ${errorText(thrown)}`;
  return new IdentityError('ERR_POLICY', message, { cause: thrown });
}
