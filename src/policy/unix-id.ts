import { shown } from '../core/yaml.ts';

/** 2^32 - 1 is no user or group: to the kernel it says "leave as it is" (setresuid(2)). */
const MAX_ID = 0xffff_fffe;

/** What is wrong with the value of a `unix:uid`, `unix:gid` or `unix:supplementary_gid`, or undefined. */
export function unixIdFault(kind: string, value: string): string | undefined {
  if (value === '') return `unix:${kind} has no value: write a number, as in unix:${kind}:1000`;
  if (/^[A-Za-z_]/.test(value)) {
    const named = { uid: 'user', gid: 'group' }[kind] ?? 'supplementary_group';
    return `unix:${kind} takes a number: a name such as "${shown(value)}" goes with unix:${named}`;
  }
  if (/\s/.test(value)) return `unix:${kind} takes a number, and "${shown(value)}" has a blank`;
  if (/^\d+$/.test(value) && Number(value) <= MAX_ID) return undefined;
  return `unix:${kind} takes a number from 0 to ${MAX_ID}, got "${shown(value)}"`;
}
