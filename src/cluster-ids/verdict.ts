import type { Selector } from '../identity/selector.ts';
import type { ClusterSpiffeId } from '../manifests/cluster-spiffe-id.ts';
import { requirementText } from '../manifests/label-selector.ts';
import type { Assessment } from './assess.ts';

/** What became of a `ClusterSPIFFEID` for a process, in the form of the policy's own verdicts. */
export type ClusterVerdict = { readonly entry: EntryView } & (
  | { readonly kind: 'applies'; readonly id: string }
  | { readonly kind: 'placeholder' | 'undecided'; readonly reason: string }
  | {
      readonly kind: 'missing';
      readonly missing: readonly string[];
      readonly findings: readonly string[];
    }
);

interface EntryView {
  readonly spiffeId: string;
  readonly selectors: readonly string[];
  readonly priority: number;
  readonly source: string;
}

/** Undefined where it asks for a pod that has nothing to do with this one. */
export function verdictOn(
  assessment: Assessment,
  held: ReadonlySet<Selector>,
): ClusterVerdict | undefined {
  const entry = viewOf(assessment.id);
  const missing = (what: readonly string[]) =>
    ({ kind: 'missing', entry, missing: what, findings: [] }) as const;
  switch (assessment.kind) {
    case 'unselected': {
      const near = assessment.unmet.length === 1 || assessment.met > 0;
      return near ? missing(assessment.unmet) : undefined;
    }
    case 'unrendered':
      return { kind: 'placeholder', entry, reason: assessment.reason };
    case 'undecided':
      return { kind: 'undecided', entry, reason: assessment.reason };
    case 'yields':
      return missing([
        `a pod that no other ClusterSPIFFEID is for (it is a fallback for those, and ${assessment.to} is for this one)`,
      ]);
    case 'rendered': {
      const lacking = assessment.selectors.filter((selector) => !held.has(selector));
      return lacking.length > 0
        ? missing(lacking)
        : { kind: 'applies', entry, id: assessment.entitlement.id };
    }
  }
}

function viewOf(id: ClusterSpiffeId): EntryView {
  return {
    spiffeId: id.spiffeId.text,
    selectors: [
      ...id.namespaceSelector.map((one) => `namespaceSelector ${requirementText(one)}`),
      ...id.podSelector.map((one) => `podSelector ${requirementText(one)}`),
      ...id.selectors.map(({ text }) => text),
    ],
    priority: 0,
    source: id.source,
  };
}
