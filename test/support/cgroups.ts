import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Of a hierarchy that every machine has, v2 or not. */
const ROOT = ['/sys/fs/cgroup/freezer', '/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((root) =>
  existsSync(join(root, 'cgroup.procs')),
);

/** Cgroups that are made for a test, which needs root, and removed after it. */
export function createCgroups() {
  const made = new Set<string>();
  const root = () => ROOT ?? assert.fail('no cgroup hierarchy');
  return {
    /** Moves a process, this one by default, into the cgroup of this path. */
    moveTo(path: string, pid = process.pid): void {
      for (let at = path; at !== '/' && !existsSync(join(root(), at)); at = dirname(at)) {
        made.add(at);
      }
      mkdirSync(join(root(), path), { recursive: true });
      writeFileSync(join(root(), path, 'cgroup.procs'), String(pid));
    },
    /** Removes those that it made, once nobody is in them any more. */
    remove(): void {
      for (const path of [...made].sort().reverse()) rmdirSync(join(root(), path));
      made.clear();
    },
  };
}
