import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Copies what runs in production, the build and the packages it needs, to a folder that every user
 * may read. Answers the path of the executable.
 */
export function installTo(folder: string): string {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, { readonly dev?: boolean; readonly optional?: boolean }>>;
  };
  for (const [path, { dev, optional }] of Object.entries(lock.packages)) {
    if (path === '' || dev === true) continue;
    try {
      cpSync(join(ROOT, path), join(folder, path), { recursive: true, dereference: true });
    } catch (thrown) {
      // Of the optional ones only those of this platform are installed.
      if (optional !== true) throw thrown;
    }
  }
  cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true });
  return join(folder, 'dist/credence.js');
}
