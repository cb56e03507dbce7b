import type { Entitlement } from '../identity/entitlement.ts';
import type { Selector } from '../identity/selector.ts';
import type { SpiffeId } from '../identity/spiffe-id.ts';
import type { PolicyEntry } from './entry.ts';
import type { Policy } from './policy.ts';
import { expandTemplate, parseTemplate } from './template.ts';

/** Why an entry gives a caller an identity, or why it nearly does. */
export type EntryVerdict =
  | { readonly kind: 'applies'; readonly entry: PolicyEntry; readonly id: SpiffeId }
  /** Another entry of higher precedence gives the same ID. */
  | {
      readonly kind: 'shadowed';
      readonly entry: PolicyEntry;
      readonly id: SpiffeId;
      readonly by: string;
    }
  /** All selectors hold, but a placeholder has no single valid value. */
  | { readonly kind: 'placeholder'; readonly entry: PolicyEntry; readonly reason: string }
  | {
      readonly kind: 'missing';
      readonly entry: PolicyEntry;
      readonly missing: readonly Selector[];
    };

/** What a caller gets, and what became of the entries. */
export interface Explanation {
  /** As of `Policy.match`. */
  readonly identities: readonly Entitlement[];
  readonly verdicts: readonly EntryVerdict[];
}

/** Near misses that are worth reading. */
const DEFAULT_LIMIT = 10;

/**
 * Matches once, then walks all entries and says what became of each that applies or nearly does:
 * those that miss one selector, or miss some and have others. For people, not for the hot path.
 */
export function explainMatch(
  policy: Policy,
  selectors: readonly Selector[],
  options: { readonly limit?: number } = {},
): Explanation {
  const held = new Set(selectors);
  const identities = policy.match(selectors);
  const granted = new Map(identities.map(({ id, source }) => [id, source]));
  const sure: EntryVerdict[] = [];
  const near: Extract<EntryVerdict, { kind: 'missing' }>[] = [];
  for (const entry of policy.entries) {
    const missing = entry.selectors.filter((selector) => !held.has(selector));
    if (missing.length === 0) sure.push(verdict(entry, selectors, granted));
    else if (missing.length === 1 || missing.length < entry.selectors.length) {
      near.push({ kind: 'missing', entry, missing });
    }
  }
  near.sort((a, b) => a.missing.length - b.missing.length || heldCount(b) - heldCount(a));
  const verdicts = [...sure, ...near.slice(0, options.limit ?? DEFAULT_LIMIT)];
  return { identities, verdicts };
}

function heldCount({ entry, missing }: Extract<EntryVerdict, { kind: 'missing' }>): number {
  return entry.selectors.length - missing.length;
}

function verdict(
  entry: PolicyEntry,
  selectors: readonly Selector[],
  granted: ReadonlyMap<SpiffeId, string>,
): EntryVerdict {
  const expansion = expandTemplate(parseTemplate(entry.spiffeId), selectors);
  if (expansion.kind === 'none') {
    return { kind: 'placeholder', entry, reason: expansion.reason };
  }
  const by = granted.get(expansion.id);
  return by === undefined || by === entry.source
    ? { kind: 'applies', entry, id: expansion.id }
    : { kind: 'shadowed', entry, id: expansion.id, by };
}
