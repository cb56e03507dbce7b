import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Files below `folder` whose name ends with `suffix`, sorted. */
export function globSync(folder, suffix) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((name) => name.endsWith(suffix))
    .sort();
}
