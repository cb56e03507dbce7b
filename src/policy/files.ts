import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  type Stats,
} from 'node:fs';
import { join } from 'node:path';
import { errorText, IdentityError, systemCode } from '../core/errors.ts';
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

/** What a configured path stands for. */
export interface Documents {
  readonly path: string;
  readonly folder: boolean;
  /** The path itself, or a folder's documents in the order of their names' bytes. */
  readonly files: readonly string[];
  /** Those of a folder's documents that are links. */
  readonly links: readonly string[];
  /** `ERR_POLICY`, when there was nothing to list. */
  readonly fault?: IdentityError;
}

/** Lists the documents of each path; links are followed, folders in a folder are not. */
export function listDocuments(paths: readonly string[]): readonly Documents[] {
  return paths.map((path) => {
    try {
      if (!statSync(path).isDirectory()) return { path, folder: false, files: [path], links: [] };
      return { path, folder: true, ...listFolder(path) };
    } catch (thrown) {
      return { path, folder: false, files: [], links: [], fault: unreadable(path, thrown) };
    }
  });
}

function listFolder(path: string): Pick<Documents, 'files' | 'links'> {
  const files: { file: string; bytes: Buffer; isLink: boolean }[] = [];
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const file = join(path, entry.name);
    const isLink = entry.isSymbolicLink();
    if (!isDocumentName(entry.name) || entry.isDirectory() || (isLink && isFolder(file))) continue;
    files.push({ file, bytes: Buffer.from(entry.name), isLink });
  }
  files.sort((a, b) => Buffer.compare(a.bytes, b.bytes));
  return {
    files: files.map(({ file }) => file),
    links: files.filter(({ isLink }) => isLink).map(({ file }) => file),
  };
}

/** A link to nowhere is none: reading it says which file it is. */
function isFolder(link: string): boolean {
  try {
    return statSync(link).isDirectory();
  } catch {
    return false;
  }
}

/** Whether the documents are so few and short that reading them is quick; looks at no more of them. */
export function areSmall(
  listed: readonly Documents[],
  limit: { readonly files: number; readonly bytes: number },
): boolean {
  const files = listed.flatMap((documents) => documents.files);
  if (files.length > limit.files) return false;
  let bytes = 0;
  for (const file of files) {
    // What is not there costs nothing; the load will say so.
    bytes += sizeOf(file);
    if (bytes > limit.bytes) return false;
  }
  return true;
}

function sizeOf(file: string): number {
  try {
    return statSync(file).size;
  } catch {
    return 0;
  }
}

/** A document's text. Throws `ERR_POLICY`; a pipe or a device is refused, not waited for. */
export function readDocumentText(
  path: string,
  maxBytes: number,
): { text: string; bytes: number; stats: Stats } {
  const { data, stats } = readBytes(path, maxBytes);
  const text = decodeText(data, path, { code: 'ERR_POLICY', maxBytes });
  return { text, bytes: data.length, stats };
}

function readBytes(path: string, maxBytes: number): { data: Buffer; stats: Stats } {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = checkedStat(fd, path);
      if (stats.size > maxBytes) throw tooLarge(path, stats.size, maxBytes);
      return { data: readFileSync(fd), stats };
    } finally {
      closeSync(fd);
    }
  } catch (thrown) {
    if (thrown instanceof IdentityError) throw thrown;
    throw unreadable(path, thrown);
  }
}

function checkedStat(fd: number, path: string): Stats {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw new IdentityError('ERR_POLICY', `${path}: it is not a regular file`);
  return stat;
}

function tooLarge(path: string, size: number, maxBytes: number): IdentityError {
  const message = `${path}: it has ${size} bytes, at most ${maxBytes} are allowed`;
  return new IdentityError('ERR_POLICY', message);
}

const READ_FAULTS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  ENOTDIR: 'there is no such file or folder',
  EACCES: 'this user may not read it',
};

function unreadable(path: string, thrown: unknown): IdentityError {
  const reason = READ_FAULTS[systemCode(thrown) ?? ''] ?? errorText(thrown);
  const message = `cannot read the policy ${path}: ${reason}`;
  return new IdentityError('ERR_POLICY', message, { cause: thrown });
}
