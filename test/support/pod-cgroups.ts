import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

const MOUNT = '/sys/fs/cgroup';

/** Whether this machine has cgroup v1 hierarchies, with v2 beside them. */
export const HYBRID = !existsSync(join(MOUNT, 'cgroup.procs'));

/** Where v2 is mounted. */
export const V2 = HYBRID ? join(MOUNT, 'unified') : MOUNT;

/** A hierarchy that any process may be put into, v2 or not. */
export const ANY = HYBRID ? join(MOUNT, 'freezer') : MOUNT;

/** Cgroups that a test makes, and removes when it is over. */
export interface Cgroups extends Disposable {
  /** Makes one with all above it; its folder. */
  make(path: string, root?: string): string;
}

export function createCgroups(): Cgroups {
  const made = new Set<string>();
  return {
    make(path, root = ANY) {
      for (let at = path; at !== '/'; at = dirname(at)) made.add(join(root, at));
      const folder = join(root, path);
      mkdirSync(folder, { recursive: true });
      return folder;
    },
    [Symbol.dispose]: () => removeCgroups([...made]),
  };
}

/** Moves a process there. */
export function moveInto(folder: string, pid: number = process.pid): void {
  writeFileSync(join(folder, 'cgroup.procs'), String(pid));
}

/** Removes cgroups and what there is below them; those that are in use stay. */
export function removeCgroups(folders: readonly string[]): void {
  const removeAll = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) removeAll(join(folder, entry.name));
    }
    try {
      rmdirSync(folder);
    } catch {
      // Another test's, or not empty yet.
    }
  };
  for (const folder of [...folders].sort().reverse()) if (existsSync(folder)) removeAll(folder);
}

/** A process's `/proc/<pid>/cgroup`. */
export const cgroupOf = (pid: number): string => readFileSync(`/proc/${pid}/cgroup`, 'latin1');
