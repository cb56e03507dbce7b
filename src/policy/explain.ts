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

type Missing = Extract<EntryVerdict, { kind: 'missing' }>;

/** Near misses that are worth reading. */
const DEFAULT_LIMIT = 10;
/** Selectors looked at in one turn of the event loop: some tenths of a millisecond. */
const SLICE = 2000;

/**
 * Matches once, then walks all entries and says what became of each that applies or nearly does:
 * those that miss one selector, or miss some and have others. For people, not for the hot path: the
 * walk lets the event loop turn, so that a large policy keeps no stream waiting.
 */
export async function explainMatch(
  policy: Policy,
  selectors: readonly Selector[],
  { limit = DEFAULT_LIMIT }: { readonly limit?: number } = {},
): Promise<Explanation> {
  const held = new Set(selectors);
  const identities = policy.match(selectors);
  const granted = new Map(identities.map(({ id, source }) => [id, source]));
  const sure: EntryVerdict[] = [];
  const near: Missing[] = [];
  let looks = 0;
  for (const entry of policy.entries) {
    const missing = entry.selectors.filter((selector) => !held.has(selector));
    looks += entry.selectors.length;
    if (missing.length === 0) {
      sure.push(verdict(entry, selectors, granted));
      looks += selectors.length;
    } else if (missing.length === 1 || missing.length < entry.selectors.length) {
      keepNearest(near, { kind: 'missing', entry, missing }, limit);
    }
    if (looks < SLICE) continue;
    looks = 0;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return { identities, verdicts: [...sure, ...near] };
}

/** Puts a near miss into the list of the nearest, the first of equals first. */
function keepNearest(near: Missing[], one: Missing, limit: number): void {
  let place = near.length;
  for (let before = near[place - 1]; before && nearer(one, before); before = near[place - 1]) {
    place--;
  }
  if (place >= limit) return;
  near.splice(place, 0, one);
  if (near.length > limit) near.pop();
}

function nearer(a: Missing, b: Missing): boolean {
  if (a.missing.length !== b.missing.length) return a.missing.length < b.missing.length;
  return heldCount(a) > heldCount(b);
}

function heldCount({ entry, missing }: Missing): number {
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
