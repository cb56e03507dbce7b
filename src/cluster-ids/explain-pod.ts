import type { Entitlement } from '../identity/entitlement.ts';
import type { Selector } from '../identity/selector.ts';
import type { ClusterSpiffeId } from '../manifests/cluster-spiffe-id.ts';
import type { PodFacts } from '../manifests/template-fields.ts';
import { assessPod, type Assessment, type Surroundings } from './assess.ts';
import { describedPod } from './facts.ts';
import { verdictOn, type ClusterVerdict } from './verdict.ts';

/** What manifests make of a process in a pod. */
export interface PodExplanation {
  readonly identities: readonly Entitlement[];
  /** What became of each manifest that is for this process, or nearly. */
  readonly verdicts: readonly ClusterVerdict[];
}

/** The identities of those that a process with these selectors may have. */
export function grantedTo(
  assessments: readonly Assessment[],
  held: ReadonlySet<Selector>,
): readonly Entitlement[] {
  return assessments.flatMap((one) =>
    one.kind === 'rendered' && one.selectors.every((selector) => held.has(selector))
      ? [one.entitlement]
      : [],
  );
}

export function explainPod(
  ids: readonly ClusterSpiffeId[],
  pod: PodFacts,
  selectors: readonly Selector[],
  around: Surroundings,
): PodExplanation {
  const held = new Set(selectors);
  const assessments = assessPod(ids, pod, around);
  return {
    identities: grantedTo(assessments, held),
    verdicts: assessments.flatMap((one) => verdictOn(one, held) ?? []),
  };
}

/** The same without a cluster, by these alone: of the pod that the selectors describe, if any. */
export function explainDescribed(
  ids: readonly ClusterSpiffeId[],
  selectors: readonly Selector[],
  known: Pick<Surroundings, 'trustDomain' | 'clusterName' | 'clusterDomain' | 'ignoredNamespaces'>,
): PodExplanation {
  const pod = describedPod(selectors);
  if (!pod) return { identities: [], verdicts: [] };
  const unknown = () => undefined;
  const around = { ...known, complete: () => true, namespaceLabels: unknown, node: unknown };
  return explainPod(ids, pod, selectors, around);
}
