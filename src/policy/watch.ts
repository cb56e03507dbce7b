import { realpathSync, statSync } from 'node:fs';
import { trail, watchFolders } from '../core/watch-folders.ts';
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

/** Notices every change of files and folders, as `watchFolders` does. */
export const watchPaths: OpenWatch = (paths, onChange, onFailure) => {
  const watch = watchFolders(onChange, onFailure);
  return {
    rearm: () =>
      watch.rearm((onFolder) =>
        foldersToWatch(paths, (folder, interest) =>
          onFolder(
            folder,
            (name) => interest.names.has(name) || (interest.documents && isDocumentName(name)),
          ),
        ),
      ),
    close: () => watch.close(),
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
