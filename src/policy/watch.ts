import { lstatSync, readlinkSync, realpathSync, statSync, watch, type FSWatcher } from 'node:fs';
import { basename, join, parse, resolve, sep } from 'node:path';
import { isDocumentName, listDocuments, type Documents } from './files.ts';

/** Watches until closed. */
export interface Watch {
  /** Looks again at what has to be watched, and returns what there is now. */
  rearm(): readonly Documents[];
  close(): void;
}

/** Opens a watch on files and folders; replaced in tests. */
export type OpenWatch = (
  paths: readonly string[],
  onChange: () => void,
  onFailure: (thrown: unknown) => void,
) => Watch;

/** The names in a folder that matter. */
interface Interest {
  readonly names: Set<string>;
  /** Every document, known or to come. */
  documents: boolean;
}

/** No chain of links is longer: what the kernel follows (path_resolution(7)). */
const MAX_LINKS = 40;

/**
 * Notices writing in place, renaming over, a link that is swapped (a mounted ConfigMap), deletion
 * and return. Folders are watched, not files: a watch on a file stays with the inode that a rename
 * replaced. `onFailure` hears when the kernel refuses a watch (inotify limits).
 */
export const watchPaths: OpenWatch = (paths, onChange, onFailure) => {
  let watchers: readonly FSWatcher[] = [];

  function open(folder: string, interest: Interest): FSWatcher | undefined {
    try {
      const own = basename(folder);
      const watcher = watch(folder, { persistent: false }, (_, name) => {
        // The folder's own end comes under its own name.
        const matters = name === null || name === own || interest.names.has(name);
        if (matters || (interest.documents && isDocumentName(name))) onChange();
      });
      watcher.on('error', onFailure);
      return watcher;
    } catch (thrown) {
      onFailure(thrown);
      return undefined;
    }
  }

  return {
    // All anew each time: a watch on a folder that was replaced hears nothing more, and its path
    // does not tell. The new ones are open before the old ones close, so nothing is missed.
    rearm() {
      const old = watchers;
      const opened: FSWatcher[] = [];
      const listed = foldersToWatch(paths, (folder, interest) => {
        const watcher = open(folder, interest);
        if (watcher) opened.push(watcher);
      });
      watchers = opened;
      for (const watcher of old) watcher.close();
      return listed;
    },
    close() {
      for (const watcher of watchers) watcher.close();
      watchers = [];
    },
  };
};

/**
 * Calls back with each folder in which a change can alter what the paths stand for, and the names that
 * matter there, of which more may follow. A folder is told of before it is listed, so that what changes
 * in between is noticed. Returns the documents.
 */
export function foldersToWatch(
  paths: readonly string[],
  onFolder: (folder: string, interest: Interest) => void,
): readonly Documents[] {
  const folders = new Map<string, Interest>();
  const interestIn = (folder: string): Interest => {
    const known = folders.get(folder);
    if (known) return known;
    const interest = { names: new Set<string>(), documents: false };
    folders.set(folder, interest);
    onFolder(folder, interest);
    return interest;
  };
  const add = (folder: string, name: string): void => void interestIn(folder).names.add(name);
  for (const path of paths) {
    trail(path, add);
    const folder = realFolder(path);
    if (folder !== undefined) interestIn(folder).documents = true;
  }
  const listed = listDocuments(paths);
  for (const link of listed.flatMap(({ links }) => links)) trail(link, add);
  return listed;
}

/** Undefined for a file, and for what is gone or unreadable: what is there of it is watched. */
function realFolder(path: string): string | undefined {
  try {
    return statSync(path).isDirectory() ? realpathSync(path) : undefined;
  } catch {
    return undefined;
  }
}

/** Walks to a path as the kernel does and reports each link on the way, then the end or the gap. */
function trail(path: string, add: (folder: string, name: string) => void, links = 0): void {
  const root = parse(path).root;
  const steps = path.slice(root.length).split(sep).filter(Boolean);
  let folder = root;
  for (const [n, step] of steps.entries()) {
    const here = join(folder, step);
    const kind = kindOfPath(here);
    const last = n === steps.length - 1;
    if (kind !== 'other' || last) add(folder, step);
    if (kind === 'link' && links < MAX_LINKS) {
      const target = linkTarget(here, folder);
      if (target !== undefined) trail(join(target, ...steps.slice(n + 1)), add, links + 1);
    }
    if (kind !== 'other') return;
    folder = here;
  }
}

function kindOfPath(path: string): 'gap' | 'link' | 'other' {
  try {
    return lstatSync(path).isSymbolicLink() ? 'link' : 'other';
  } catch {
    return 'gap';
  }
}

function linkTarget(link: string, folder: string): string | undefined {
  try {
    return resolve(folder, readlinkSync(link));
  } catch {
    return undefined;
  }
}
