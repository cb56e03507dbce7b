import type { Caller } from '../identity/caller.ts';

/** What a process was told before of names that it may not have. */
export interface Refusals {
  /** Notes a refusal; true when this process was refused the name before. */
  note(caller: Caller, name: string): boolean;
  /** The same of a name that is said to be absent. */
  noteAbsent(caller: Caller, name: string): boolean;
}

/** Names remembered per process: they are chosen by the caller, so they are bounded. */
const MAX_NAMES = 64;

/** Refusals of each process, forgotten with it. */
export function createRefusals(): Refusals {
  // Apart: names that are absent come from strangers (SNI) and must not push out the others.
  return { note: createMemory(), noteAbsent: createMemory() };
}

function createMemory(): Refusals['note'] {
  const byCaller = new WeakMap<Caller, Set<string>>();
  return (caller, name) => {
    const names = byCaller.get(caller) ?? new Set<string>();
    byCaller.set(caller, names);
    if (names.has(name)) return true;
    names.add(name);
    if (names.size > MAX_NAMES) names.delete(names.values().next().value ?? name);
    return false;
  };
}
