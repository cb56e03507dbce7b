import type { PodExplanation } from './cluster-ids/explain-pod.ts';
import type { ClusterVerdict } from './cluster-ids/verdict.ts';
import { mergeEntitlements, type Entitlement } from './identity/entitlement.ts';
import type { Selector } from './identity/selector.ts';
import { explainMatch, type EntryVerdict } from './policy/explain.ts';
import type { Policy } from './policy/policy.ts';
import type { Attests } from './policy/unmatched.ts';

/** Near misses of manifests that are worth reading. */
const LIMIT = 10;

type Shadowed = Omit<Extract<EntryVerdict, { kind: 'shadowed' }>, 'entry' | 'id'> & {
  readonly entry: ClusterVerdict['entry'];
  readonly id: string;
};

/** What all that grants identities makes of some selectors, and what nearly granted one. */
export interface Explanation {
  readonly identities: readonly Entitlement[];
  readonly verdicts: readonly (EntryVerdict | ClusterVerdict | Shadowed)[];
  readonly missingNotShown: number;
}

/** @param policies in the order of precedence, all of them before the cluster's part */
export async function explainAll(
  policies: readonly Policy[],
  cluster: {
    readonly identities: PodExplanation['identities'];
    readonly verdicts: readonly (EntryVerdict | ClusterVerdict)[];
  },
  selectors: readonly Selector[],
  attests: Attests,
): Promise<Explanation> {
  const told = await Promise.all(
    policies.map((policy) => explainMatch(policy, selectors, { attests })),
  );
  const identities = mergeEntitlements([
    ...told.map((part) => part.identities),
    cluster.identities,
  ]);
  const granted = new Map<string, string>(identities.map(({ id, source }) => [id, source]));
  const verdicts = [...told.flatMap((part) => part.verdicts), ...cluster.verdicts].map(
    (verdict) => {
      if (verdict.kind !== 'applies') return verdict;
      const by = granted.get(verdict.id);
      if (by === undefined || by === verdict.entry.source) return verdict;
      return { kind: 'shadowed' as const, entry: verdict.entry, id: verdict.id, by };
    },
  );
  const missing = verdicts.filter(({ kind }) => kind === 'missing');
  const shown = new Set<unknown>([...missing].sort((a, b) => lacks(a) - lacks(b)).slice(0, LIMIT));
  const sure = verdicts.filter(({ kind }) => kind !== 'missing');
  return {
    identities,
    verdicts: [...sure, ...missing.filter((one) => shown.has(one))],
    missingNotShown:
      told.reduce((sum, part) => sum + part.missingNotShown, 0) + missing.length - shown.size,
  };
}

function lacks(verdict: { readonly kind: string; readonly missing?: readonly unknown[] }): number {
  return verdict.missing?.length ?? 0;
}
