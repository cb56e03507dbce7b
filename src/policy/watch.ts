import { lstatSync, readlinkSync, realpathSync, statSync, watch, type FSWatcher } from 'node:fs';
import { basename, join, parse, resolve, sep } from 'node:path';
import { isDocumentName, listDocuments } from './files.ts';

/** Watches until closed; `rearm` looks again at what has to be watched. */
export interface Watch {
  rearm(): void;
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

  function open(folder: string, { names, documents }: Interest): FSWatcher | undefined {
    try {
      const own = basename(folder);
      const watcher = watch(folder, { persistent: false }, (_, name) => {
        // The folder's own end comes under its own name.
        const matters = name === null || name === own || names.has(name);
        if (matters || (documents && isDocumentName(name))) onChange();
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
      watchers = [...foldersToWatch(paths)].flatMap(
        ([folder, interest]) => open(folder, interest) ?? [],
      );
      for (const watcher of old) watcher.close();
    },
    close() {
      for (const watcher of watchers) watcher.close();
      watchers = [];
    },
  };
};

/** The folders in which a change can alter what the paths stand for, with the names that matter. */
export function foldersToWatch(paths: readonly string[]): ReadonlyMap<string, Interest> {
  const folders = new Map<string, Interest>();
  const interestIn = (folder: string): Interest => {
    const known = folders.get(folder) ?? { names: new Set<string>(), documents: false };
    folders.set(folder, known);
    return known;
  };
  const add = (folder: string, name: string): void => void interestIn(folder).names.add(name);
  for (const path of paths) {
    trail(path, add);
    try {
      // Before its documents are looked at: one that cannot be read must not hide the others.
      if (statSync(path).isDirectory()) interestIn(realpathSync(path)).documents = true;
      for (const file of listDocuments(path).files) {
        if (lstatSync(file).isSymbolicLink()) trail(file, add);
      }
    } catch {
      // Gone or unreadable: what is there of it is watched.
    }
  }
  return folders;
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

/** Bytes of all documents, to decide where to parse them; what cannot be read counts nothing. */
export function documentBytes(paths: readonly string[]): number {
  let bytes = 0;
  for (const path of paths) {
    try {
      for (const file of listDocuments(path).files) bytes += statSync(file).size;
    } catch {
      // The load itself will say what is wrong.
    }
  }
  return bytes;
}
