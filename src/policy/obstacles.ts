import { contradiction } from './contradiction.ts';
import type { PolicyEntry } from './entry.ts';
import { hasPlaceholder, parseTemplate } from './template.ts';
import { neverFilled, neverMatches, offType, type Attestable } from './unmatched.ts';

/** Why an entry applies to no process of this machine. */
export interface Obstacle {
  readonly why: string;
  /** Because no attestor makes selectors of this type: the same for all that ask for it. */
  readonly offType: string | undefined;
}

/** Everything because of which an entry never applies. */
export function* obstacles(
  { selectors, spiffeId }: Pick<PolicyEntry, 'selectors' | 'spiffeId'>,
  machine: Attestable,
): Generator<Obstacle> {
  for (const selector of selectors) {
    const why = neverMatches(selector, machine);
    if (why !== undefined) yield { why, offType: offType(selector, machine) };
  }
  const excluded = contradiction(selectors, machine);
  if (excluded !== undefined) yield { why: excluded, offType: undefined };
  if (!hasPlaceholder(spiffeId)) return;
  for (const prefix of new Set(parseTemplate(spiffeId).prefixes)) {
    const placeholder = prefix.slice(0, -1);
    const why = neverFilled(placeholder, machine) ?? several(prefix, selectors);
    if (why !== undefined) yield { why, offType: offType(placeholder, machine) };
  }
}

/** A placeholder stands for a single value: who has all selectors of the entry has more. */
function several(prefix: string, selectors: PolicyEntry['selectors']): string | undefined {
  const [one, other] = selectors.filter((selector) => selector.startsWith(prefix));
  if (one === undefined || other === undefined) return undefined;
  return `{${prefix.slice(0, -1)}} has a single value for no process: the entry asks for ${one} and ${other}`;
}
