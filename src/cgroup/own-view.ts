import { readFileSync } from 'node:fs';
import { parseCgroupLines } from './lines.ts';

/**
 * Throws when paths of cgroups are relative to a cgroup namespace of this process's own: they tell no
 * pod and no container apart then. Process 1 stands for any.
 */
export function requireHostView(): void {
  parseCgroupLines(readFileSync('/proc/1/cgroup', 'latin1'));
}
