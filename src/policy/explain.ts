import type { Entitlement } from '../identity/entitlement.ts';
import type { Selector } from '../identity/selector.ts';
import type { SpiffeId } from '../identity/spiffe-id.ts';
import type { PolicyEntry } from './entry.ts';
import { obstacles } from './obstacles.ts';
import type { Policy } from './policy.ts';
import { expandTemplate, parseTemplate } from './template.ts';
import { ALL_ATTESTORS, attestableHere, type Attests } from './unmatched.ts';

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
  /** All selectors hold, but a placeholder has no single valid value, or it is not for this node. */
  | { readonly kind: 'placeholder'; readonly entry: PolicyEntry; readonly reason: string }
  | {
      readonly kind: 'missing';
      readonly entry: PolicyEntry;
      readonly missing: readonly Selector[];
      /** Why no process of this machine gets further. */
      readonly findings: readonly string[];
    };

/** What a caller gets, and what became of the entries. */
export interface Explanation {
  /** As of `Policy.match`. */
  readonly identities: readonly Entitlement[];
  readonly verdicts: readonly EntryVerdict[];
  /** Entries that nearly apply, beyond those of the verdicts. */
  readonly missingNotShown: number;
}

type Missing = Extract<EntryVerdict, { kind: 'missing' }>;

/** Near misses that are worth reading. */
const DEFAULT_LIMIT = 10;
/** Selectors looked at in one turn of the event loop: some tenths of a millisecond. */
const SLICE = 2000;

export interface ExplainOptions {
  readonly limit?: number;
  /** What the daemon looks for; without it nothing is said of what it does not. */
  readonly attests?: Attests;
}

/**
 * Matches once, then walks all entries and says what became of each that applies or nearly does:
 * those that miss one selector, or miss some and have others, which come first. For people, not for the hot path: the
 * walk lets the event loop turn, so that a large policy keeps no stream waiting.
 */
export async function explainMatch(
  policy: Policy,
  selectors: readonly Selector[],
  { limit = DEFAULT_LIMIT, attests = ALL_ATTESTORS }: ExplainOptions = {},
): Promise<Explanation> {
  const held = new Set(selectors);
  const identities = policy.match(selectors);
  const granted = new Map(identities.map(({ id, source }) => [id, source]));
  const sure: EntryVerdict[] = [];
  const near: Missing[] = [];
  let nearCount = 0;
  let looks = 0;
  for (const entry of policy.entries) {
    const missing = entry.selectors.filter((selector) => !held.has(selector));
    looks += entry.selectors.length;
    if (missing.length === 0) {
      sure.push(verdict(entry, selectors, granted));
      looks += selectors.length;
    } else if (missing.length === 1 || missing.length < entry.selectors.length) {
      nearCount++;
      keepNearest(near, { kind: 'missing', entry, missing, findings: [] }, limit);
    }
    if (looks < SLICE) continue;
    looks = 0;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  const machine = near.length > 0 ? attestableHere(attests) : undefined;
  const missed = near.map((one) =>
    machine ? { ...one, findings: [...obstacles(one.entry, machine)].map(({ why }) => why) } : one,
  );
  return {
    identities,
    verdicts: [...sure, ...missed],
    missingNotShown: nearCount - near.length,
  };
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

/** Who has nothing of what an entry asks for was hardly meant by it. */
function nearer(a: Missing, b: Missing): boolean {
  if (heldCount(a) === 0 || heldCount(b) === 0) {
    if (heldCount(a) !== heldCount(b)) return heldCount(a) > 0;
  }
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
