import { existsSync } from 'node:fs';

/**
 * The first of a policy's paths where nothing is, and what to do about it.
 * @param file the configuration that names them
 */
export function missingPolicy(file: string, paths: readonly string[]) {
  const path = paths.find((p) => !existsSync(p));
  if (path === undefined) return undefined;
  const hint = `create it, or correct policy.paths of ${file}: paths are relative to that file`;
  return { path, hint };
}
