import { lstatSync, type Stats } from 'node:fs';

/** As `look` does; tests see files with other owners. */
export type Look = (path: string) => Stats | undefined;

/** What is at a path, a link itself; undefined for what is not there or not for this user to see. */
export function look(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}
