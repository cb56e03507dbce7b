import type { Config } from '../config.ts';
import { tooBroad } from '../policy/breadth.ts';
import { contradiction } from '../policy/contradiction.ts';
import type { PolicyEntry } from '../policy/entry.ts';
import { redundantEntries } from '../policy/redundancy.ts';
import { hasPlaceholder, parseTemplate } from '../policy/template.ts';
import { accountNames, neverFilled, neverMatches, type Attestable } from './unmatched.ts';

/** Nobody reads more of one sort. */
const MAX_FINDINGS = 200;

/**
 * What is probably not meant so in entries that are valid, as `file:line: why`: those that never
 * apply on this machine, those that change nothing, those that fit too many.
 */
export function* entryFindings(
  entries: readonly PolicyEntry[],
  { attestation }: Pick<Config, 'attestation'>,
): Generator<string> {
  const machine: Attestable = {
    users: accountNames('/etc/passwd'),
    groups: accountNames('/etc/group'),
    discoverPath: attestation.unix.discoverPath,
  };
  yield* some(inVain(entries, machine), 'more entries can never apply');
  yield* some(without(entries), 'more entries are redundant');
  yield* some(broad(entries), 'more entries are too broad');
}

function* inVain(entries: readonly PolicyEntry[], machine: Attestable): Generator<string> {
  for (const { selectors, spiffeId, source } of entries) {
    for (const selector of selectors) {
      const why = neverMatches(selector, machine);
      if (why !== undefined) yield `${source}: ${why}`;
    }
    const excluded = contradiction(selectors);
    if (excluded !== undefined) yield `${source}: ${excluded}`;
    if (!hasPlaceholder(spiffeId)) continue;
    for (const prefix of parseTemplate(spiffeId).prefixes) {
      const why = neverFilled(prefix.slice(0, -1), machine);
      if (why !== undefined) yield `${source}: ${why}`;
    }
  }
}

function* without(entries: readonly PolicyEntry[]): Generator<string> {
  for (const { entry, why } of redundantEntries(entries)) yield `${entry.source}: ${why}`;
}

function* broad(entries: readonly PolicyEntry[]): Generator<string> {
  for (const entry of entries) {
    const why = tooBroad(entry);
    if (why !== undefined) yield `${entry.source}: ${why}`;
  }
}

function* some(findings: Iterable<string>, more: string): Generator<string> {
  let count = 0;
  for (const finding of findings) {
    if (count++ === MAX_FINDINGS) {
      yield more;
      return;
    }
    yield finding;
  }
}
