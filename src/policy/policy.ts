import type { Entitlement } from '../identity/entitlement.ts';
import type { Selector } from '../identity/selector.ts';
import type { SpiffeId } from '../identity/spiffe-id.ts';
import { NO_MANIFESTS, type PolicyEntry, type PolicyManifests } from './entry.ts';
import { planEntries } from './plan.ts';
import { SelectorTree } from './selector-tree.ts';
import { expandTemplate, hasPlaceholder, parseTemplate, type IdTemplate } from './template.ts';

/** Compiled entries; immutable, replaced whole. */
export interface Policy {
  /** Digest of the content; the same entries in the same order have the same revision. */
  readonly revision: string;
  /** Entries and templates of entries. */
  readonly size: number;
  /** In the order of the documents. */
  readonly entries: readonly PolicyEntry[];
  /** What the documents hold beside entries; `match` knows nothing of it. */
  readonly manifests: PolicyManifests;
  /**
   * The identities of a caller: entries whose selectors it all has, by `priority` descending, then
   * by SPIFFE ID. Where several entries give one ID, the one of highest priority counts, then the
   * first of the documents.
   */
  match(selectors: readonly Selector[]): readonly Entitlement[];
}

/** Takes entries in portions, so that a large policy can be put together in slices. */
export interface PolicyBuilder {
  /** @param entries of a plan, in its order. */
  add(entries: readonly PolicyEntry[]): void;
  build(revision: string, manifests: PolicyManifests): Policy;
}

interface Rule {
  readonly selectors: readonly Selector[];
  readonly entry: PolicyEntry;
  readonly order: number;
  readonly template: IdTemplate | undefined;
  /** Of an entry without placeholders: made at the first match, then shared by all callers. */
  entitlement: Entitlement | undefined;
}

interface Match {
  readonly entitlement: Entitlement;
  readonly order: number;
}

const NONE: readonly Entitlement[] = Object.freeze([]);

/** Compiles checked entries. */
export function compilePolicy(
  entries: readonly PolicyEntry[],
  manifests: PolicyManifests = NO_MANIFESTS,
): Policy {
  const plan = planEntries(entries, manifests);
  const builder = createPolicyBuilder();
  builder.add(plan.entries);
  return builder.build(plan.revision, manifests);
}

export function createPolicyBuilder(): PolicyBuilder {
  const entries: PolicyEntry[] = [];
  const tree = new SelectorTree<Rule>();
  return {
    add(portion) {
      for (const entry of portion) {
        tree.add(toRule(entry, entries.length));
        entries.push(entry);
      }
    },
    build: (revision, manifests) => ({
      revision,
      size: entries.length + manifests.clusterIds.length,
      entries,
      manifests,
      match: (selectors) => match(tree, selectors),
    }),
  };
}

function match(tree: SelectorTree<Rule>, selectors: readonly Selector[]): readonly Entitlement[] {
  const matches: Match[] = [];
  tree.search(new Set(selectors), (rule) => {
    const entitlement = entitle(rule, selectors);
    if (entitlement) matches.push({ entitlement, order: rule.order });
  });
  if (matches.length === 0) return NONE;
  matches.sort(byPrecedence);
  const ids = new Set<SpiffeId>();
  const result: Entitlement[] = [];
  for (const { entitlement } of matches) {
    if (ids.has(entitlement.id)) continue;
    ids.add(entitlement.id);
    result.push(entitlement);
  }
  return result;
}

function byPrecedence(a: Match, b: Match): number {
  const [x, y] = [a.entitlement, b.entitlement];
  if (x.priority !== y.priority) return y.priority - x.priority;
  if (x.id !== y.id) return x.id < y.id ? -1 : 1;
  return a.order - b.order;
}

function entitle(rule: Rule, selectors: readonly Selector[]): Entitlement | undefined {
  if (!rule.template) {
    return (rule.entitlement ??= toEntitlement(rule.entry, rule.entry.spiffeId as SpiffeId));
  }
  const expansion = expandTemplate(rule.template, selectors);
  return expansion.kind === 'id' ? toEntitlement(rule.entry, expansion.id) : undefined;
}

function toRule(entry: PolicyEntry, order: number): Rule {
  const template = hasPlaceholder(entry.spiffeId) ? parseTemplate(entry.spiffeId) : undefined;
  return { selectors: entry.selectors, entry, order, template, entitlement: undefined };
}

function toEntitlement(entry: PolicyEntry, id: SpiffeId): Entitlement {
  return Object.freeze({
    id,
    x509SvidTtlMs: entry.x509SvidTtlMs,
    jwtSvidTtlMs: entry.jwtSvidTtlMs,
    dnsNames: entry.dnsNames,
    federatesWith: entry.federatesWith,
    hint: entry.hint,
    priority: entry.priority,
    source: entry.source,
  });
}
