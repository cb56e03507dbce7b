import { lstatSync, readlinkSync, watch, type FSWatcher } from 'node:fs';
import { basename, join, parse, resolve, sep } from 'node:path';

/** Told of a folder to watch, and of the names in it that matter, as seen when one of them changes. */
export type OnFolder = (folder: string, matters: (name: string) => boolean) => void;

/** Watches until closed. */
export interface FolderWatch {
  /**
   * Looks again at what has to be watched: `visit` tells of each folder before it reads anything in
   * it, so that what changes in between is noticed. Returns what `visit` does.
   */
  rearm<T>(visit: (onFolder: OnFolder) => T): T;
  close(): void;
}

/** No chain of links is longer: what the kernel follows (path_resolution(7)). */
const MAX_LINKS = 40;

/**
 * Notices writing in place, renaming over, a link that is swapped (a mounted ConfigMap or Secret),
 * deletion and return. Folders are watched, not files: a watch on a file stays with the inode that a
 * rename replaced. `onFailure` hears when the kernel refuses a watch (inotify limits).
 */
export function watchFolders(
  onChange: () => void,
  onFailure: (thrown: unknown) => void,
): FolderWatch {
  let watchers: readonly FSWatcher[] = [];

  function open(folder: string, matters: (name: string) => boolean): FSWatcher | undefined {
    try {
      const own = basename(folder);
      const watcher = watch(folder, { persistent: false }, (_, name) => {
        // The folder's own end comes under its own name.
        if (name === null || name === own || matters(name)) onChange();
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
    rearm(visit) {
      const old = watchers;
      const opened: FSWatcher[] = [];
      const result = visit((folder, matters) => {
        const watcher = open(folder, matters);
        if (watcher) opened.push(watcher);
      });
      watchers = opened;
      for (const watcher of old) watcher.close();
      return result;
    },
    close() {
      for (const watcher of watchers) watcher.close();
      watchers = [];
    },
  };
}

/** Tells of the folders in which a change can alter what these files are; for `rearm`. */
export function visitFiles(paths: readonly string[], onFolder: OnFolder): void {
  const folders = new Map<string, Set<string>>();
  const add = (folder: string, name: string): void => {
    let names = folders.get(folder);
    if (!names) {
      const all = (names = new Set<string>());
      folders.set(folder, all);
      onFolder(folder, (changed) => all.has(changed));
    }
    names.add(name);
  };
  for (const path of paths) trail(path, add);
}

/** Walks to a path as the kernel does and reports each link on the way, then the end or the gap. */
export function trail(path: string, add: (folder: string, name: string) => void, links = 0): void {
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
