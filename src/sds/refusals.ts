import type { Caller } from '../identity/caller.ts';

/** Which names a process was refused before; a second request for one is parked. */
export interface Refusals {
  /** Notes a refusal; true when this process was refused the name before. */
  note(caller: Caller, name: string): boolean;
}

/** Names remembered per process: they are chosen by the caller, so they are bounded. */
const MAX_NAMES = 64;

/** Refusals of each process, forgotten with it. */
export function createRefusals(): Refusals {
  const byCaller = new WeakMap<Caller, Set<string>>();
  return {
    note(caller, name) {
      const names = byCaller.get(caller) ?? new Set<string>();
      byCaller.set(caller, names);
      if (names.has(name)) return true;
      names.add(name);
      if (names.size > MAX_NAMES) names.delete(names.values().next().value ?? name);
      return false;
    },
  };
}
