import { existsSync } from 'node:fs';
import type { Config } from '../config.ts';

/** The first of `policy.paths` where nothing is, and what to do about it. */
export function missingPolicy({ file, policyPaths }: Config) {
  const path = policyPaths.find((p) => !existsSync(p));
  if (path === undefined) return undefined;
  const hint = `create it, or correct policy.paths of ${file}: paths are relative to that file`;
  return { path, hint };
}
