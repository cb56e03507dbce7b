import { tooBroad } from './breadth.ts';
import { restsOnLittle } from './pod-trust.ts';
import { anybodysClaim } from './claims.ts';
import type { PolicyEntry, PolicyWarning } from './entry.ts';
import { obstacles } from './obstacles.ts';
import { redundantEntries } from './redundancy.ts';
import { attestableHere, noAttestor, type Attestable, type Attests } from './unmatched.ts';

/** Nobody reads more of one sort. */
const MAX_FINDINGS = 200;

interface Finding {
  readonly entry: PolicyEntry;
  readonly why: string;
}

/**
 * What is probably not meant so in entries that are valid: those that never apply on this machine,
 * those that change nothing, those that fit too many.
 */
export function* entryFindings(
  entries: readonly PolicyEntry[],
  attests: Attests,
): Generator<PolicyWarning> {
  const machine = attestableHere(attests);
  yield* some(inVain(entries, machine), 'more entries can never apply');
  yield* some(redundantEntries(entries), 'more entries are redundant');
  yield* some(broad(entries), 'more entries are too broad');
  yield* some(claimed(entries, machine), "more entries rest on a user's word");
}

/** What no attestor makes is said once of each document: such entries may wait for an attestor. */
function* inVain(entries: readonly PolicyEntry[], machine: Attestable): Generator<Finding> {
  const said = new Set<string>();
  for (const entry of entries) {
    for (const { why, offType } of obstacles(entry, machine)) {
      if (offType === undefined) {
        yield { entry, why };
        continue;
      }
      const key = `${offType} ${placeOf(entry).file}`;
      if (said.has(key)) continue;
      said.add(key);
      yield { entry, why: `${noAttestor(offType)}: entries that ask for it apply to no process` };
    }
  }
}

function* broad(entries: readonly PolicyEntry[]): Generator<Finding> {
  for (const entry of entries) {
    const why = tooBroad(entry) ?? restsOnLittle(entry);
    if (why !== undefined) yield { entry, why };
  }
}

function* claimed(entries: readonly PolicyEntry[], machine: Attestable): Generator<Finding> {
  for (const entry of entries) {
    const why = anybodysClaim(entry, machine);
    if (why !== undefined) yield { entry, why };
  }
}

function* some(findings: Iterable<Finding>, more: string): Generator<PolicyWarning> {
  let count = 0;
  for (const { entry, why } of findings) {
    if (count++ === MAX_FINDINGS) {
      yield { ...placeOf(entry), message: `from here on, ${more}` };
      return;
    }
    yield { ...placeOf(entry), message: why };
  }
}

function placeOf({ source }: PolicyEntry): Pick<PolicyWarning, 'file' | 'line'> {
  const colon = source.lastIndexOf(':');
  return { file: source.slice(0, colon), line: Number(source.slice(colon + 1)) };
}
