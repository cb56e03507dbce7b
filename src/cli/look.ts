import { lstatSync, type Stats } from 'node:fs';

/** What is at a path, a link itself; undefined for what is not there or not for this user to see. */
export function look(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}
