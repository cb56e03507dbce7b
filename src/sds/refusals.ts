import type { Caller } from '../identity/caller.ts';
import type { InUse } from './subscribed.ts';

/** A name that a process was refused. */
export interface Refusal {
  readonly name: string;
  readonly reason: string;
  /** Wall clock in milliseconds. */
  readonly atMs: number;
}

/** What is remembered of a process beyond its streams; forgotten with it. */
export interface Refusals {
  /** Notes a refusal; true when this process was refused the name before. */
  note(caller: Caller, name: string): boolean;
  /** Notes that the log tells of it; true when it did before. */
  noteSaid(caller: Caller, name: string): boolean;
  /** The same of a name that is said to be absent. */
  noteAbsent(caller: Caller, name: string): boolean;
  /** Notes why a stream was ended, for the operator. */
  tell(caller: Caller, refusal: Refusal): void;
  /** The last few of them, newest last. */
  told(caller: Caller): readonly Refusal[];
  /** Keeps what the process goes on using when a stream for it ends. */
  keepInUse(caller: Caller, name: string, inUse: InUse): void;
  inUse(caller: Caller, name: string): InUse | undefined;
}

/** Names are chosen by the caller, so they are bounded; a real proxy has as many as streams. */
const MAX_NAMES = 1024;
const MAX_ABSENT = 64;
const MAX_TOLD = 8;

interface Memory {
  readonly refused: Set<string>;
  readonly said: Set<string>;
  readonly absent: Set<string>;
  readonly inUse: Map<string, InUse>;
  readonly told: Refusal[];
}

export function createRefusals(): Refusals {
  const byCaller = new WeakMap<Caller, Memory>();

  function of(caller: Caller): Memory {
    let memory = byCaller.get(caller);
    if (!memory) {
      memory = {
        refused: new Set(),
        said: new Set(),
        absent: new Set(),
        inUse: new Map(),
        told: [],
      };
      byCaller.set(caller, memory);
    }
    return memory;
  }

  return {
    note: (caller, name) => isKnown(of(caller).refused, name, MAX_NAMES),
    noteSaid: (caller, name) => isKnown(of(caller).said, name, MAX_NAMES),
    // Apart: names that are absent come from strangers (SNI) and must not take the others' room.
    noteAbsent: (caller, name) => isKnown(of(caller).absent, name, MAX_ABSENT),
    tell(caller, refusal) {
      const { told } = of(caller);
      const again = told.findIndex(({ name }) => name === refusal.name);
      if (again >= 0) told.splice(again, 1);
      told.push(refusal);
      if (told.length > MAX_TOLD) told.shift();
    },
    told: (caller) => byCaller.get(caller)?.told ?? [],
    keepInUse(caller, name, inUse) {
      const kept = of(caller).inUse;
      if (kept.size < MAX_NAMES || kept.has(name)) kept.set(name, inUse);
    },
    inUse: (caller, name) => byCaller.get(caller)?.inUse.get(name),
  };
}

/**
 * Whether a name is in the set; one that is not is added while there is room. None makes room for
 * another: a proxy that asks for all its names in turn would find none of them.
 */
function isKnown(names: Set<string>, name: string, most: number): boolean {
  if (names.has(name)) return true;
  if (names.size < most) names.add(name);
  return false;
}
