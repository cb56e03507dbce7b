import { tooBroad } from './breadth.ts';
import { contradiction } from './contradiction.ts';
import type { PolicyEntry, PolicyWarning } from './entry.ts';
import { redundantEntries } from './redundancy.ts';
import { hasPlaceholder, parseTemplate } from './template.ts';
import { accountNames, neverFilled, neverMatches, type Attestable } from './unmatched.ts';

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
  { discoverPath }: Pick<Attestable, 'discoverPath'>,
): Generator<PolicyWarning> {
  const machine: Attestable = {
    users: accountNames('/etc/passwd'),
    groups: accountNames('/etc/group'),
    discoverPath,
  };
  yield* some(inVain(entries, machine), 'more entries can never apply');
  yield* some(redundantEntries(entries), 'more entries are redundant');
  yield* some(broad(entries), 'more entries are too broad');
}

function* inVain(entries: readonly PolicyEntry[], machine: Attestable): Generator<Finding> {
  for (const entry of entries) {
    for (const why of obstacles(entry, machine)) {
      if (why !== undefined) yield { entry, why };
    }
  }
}

function* obstacles(
  { selectors, spiffeId }: PolicyEntry,
  machine: Attestable,
): Generator<string | undefined> {
  for (const selector of selectors) yield neverMatches(selector, machine);
  yield contradiction(selectors);
  if (!hasPlaceholder(spiffeId)) return;
  for (const prefix of parseTemplate(spiffeId).prefixes) {
    yield neverFilled(prefix.slice(0, -1), machine);
  }
}

function* broad(entries: readonly PolicyEntry[]): Generator<Finding> {
  for (const entry of entries) {
    const why = tooBroad(entry);
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
