import { shown } from '../core/yaml.ts';
import { dnsNameFault } from '../identity/dns-name.ts';
import type { Entitlement } from '../identity/entitlement.ts';
import { selectorFault, type Selector } from '../identity/selector.ts';
import { spiffeIdFault, trustDomainOf, type SpiffeId } from '../identity/spiffe-id.ts';
import type { ClusterSpiffeId } from '../manifests/cluster-spiffe-id.ts';
import { requirementText, unmet, type LabelSelector } from '../manifests/label-selector.ts';
import type { NodeFacts, PodFacts, TemplateFacts, Texts } from '../manifests/template-fields.ts';
import { renderTemplate } from '../manifests/template-value.ts';
import type { GoTemplate } from '../manifests/template.ts';

/** What is the same for all pods of a node, or is known of their namespaces. */
export interface Surroundings extends Pick<
  TemplateFacts,
  'trustDomain' | 'clusterName' | 'clusterDomain'
> {
  readonly ignoredNamespaces: Pick<ReadonlySet<string>, 'has'>;
  /** Undefined while nobody has told. */
  namespaceLabels(name: string): Texts | undefined;
  node(): NodeFacts | undefined;
}

/** What a `ClusterSPIFFEID` comes to for a pod. */
export type Assessment = { readonly id: ClusterSpiffeId } & (
  | {
      readonly kind: 'unselected';
      /** What it asks for and the pod does not have. */
      readonly unmet: readonly string[];
      /** Conditions that hold. */
      readonly met: number;
    }
  | { readonly kind: 'unrendered'; readonly reason: string }
  /** A fallback where another one applies. */
  | { readonly kind: 'yields'; readonly to: string }
  | {
      readonly kind: 'rendered';
      readonly entitlement: Entitlement;
      /** A process of the pod has to have them as well. */
      readonly selectors: readonly Selector[];
    }
);

/** Assesses all of them for one pod, in their order. */
export function assessPod(
  ids: readonly ClusterSpiffeId[],
  pod: PodFacts,
  around: Surroundings,
): readonly Assessment[] {
  const { trustDomain, clusterName, clusterDomain } = around;
  const facts = { trustDomain, clusterName, clusterDomain, pod, node: around.node() };
  const assessed = ids.map((id) => unselected(id, pod, around) ?? render(id, facts));
  // SPIRE's rule: of the pod, whichever of its processes the other one is for.
  const first = assessed.find(({ id, kind }) => kind === 'rendered' && !id.fallback);
  if (!first) return assessed;
  return assessed.map((one) =>
    one.kind === 'rendered' && one.id.fallback
      ? { kind: 'yields', id: one.id, to: first.id.source }
      : one,
  );
}

function unselected(
  id: ClusterSpiffeId,
  pod: PodFacts,
  around: Surroundings,
): Assessment | undefined {
  const { podSelector, namespaceSelector } = id;
  const lacking: string[] = [];
  if (around.ignoredNamespaces.has(pod.namespace)) {
    lacking.push(`a namespace other than ${pod.namespace} (policy.kubernetes.ignore_namespaces)`);
  }
  if (namespaceSelector.length > 0) {
    const labels = around.namespaceLabels(pod.namespace);
    const whose = `the namespace ${pod.namespace}`;
    lacking.push(...lacks('namespaceSelector', namespaceSelector, labels, whose));
  }
  lacking.push(...lacks('podSelector', podSelector, pod.labels, 'the pod'));
  if (lacking.length === 0) return undefined;
  const asked = podSelector.length + namespaceSelector.length;
  return { kind: 'unselected', id, unmet: lacking, met: Math.max(asked - lacking.length, 0) };
}

function lacks(
  name: string,
  selector: LabelSelector,
  labels: Texts | undefined,
  whose: string,
): readonly string[] {
  if (!labels) {
    const all = selector.map(requirementText).join(',');
    return [`${name} ${all} (the labels of ${whose} are not known)`];
  }
  return unmet(selector, labels).map((requirement) => {
    const value = labels.get(requirement.key);
    const has = value === undefined ? `no ${requirement.key}` : `${requirement.key}=${value}`;
    return `${name} ${requirementText(requirement)} (${whose} has ${has})`;
  });
}

/** Nothing that a template gives is taken for what it should be. */
function render(id: ClusterSpiffeId, facts: TemplateFacts): Assessment {
  const spiffeId = renderTemplate(id.spiffeId, facts, beyondSegment);
  if (spiffeId.kind === 'none') return unrendered(id, `spiffeIDTemplate: ${spiffeId.reason}`);
  const fault = idFault(spiffeId.text, facts.trustDomain);
  if (fault !== undefined) {
    return unrendered(id, `spiffeIDTemplate gives "${shown(spiffeId.text)}": ${fault}`);
  }
  const dnsNames = renderAll(id.dnsNames, facts, dnsNameFault);
  if ('reason' in dnsNames) return unrendered(id, `dnsNameTemplates${dnsNames.reason}`);
  const selectors = renderAll(id.selectors, facts, selectorFault);
  if ('reason' in selectors) return unrendered(id, `workloadSelectorTemplates${selectors.reason}`);
  const entitlement: Entitlement = Object.freeze({
    id: spiffeId.text as SpiffeId,
    x509SvidTtlMs: id.x509SvidTtlMs,
    jwtSvidTtlMs: id.jwtSvidTtlMs,
    dnsNames: dnsNames.texts,
    federatesWith: id.federatesWith,
    hint: id.hint,
    priority: 0,
    source: id.source,
  });
  return { kind: 'rendered', id, entitlement, selectors: selectors.texts as readonly Selector[] };
}

/** What somebody writes into an annotation does not reach into the path above or below it. */
function beyondSegment(value: string): string | undefined {
  return value.includes('/') ? `"${shown(value)}" is more than one path segment` : undefined;
}

function idFault(text: string, trustDomain: string): string | undefined {
  const fault = spiffeIdFault(text);
  if (fault !== undefined) return fault;
  const domain = trustDomainOf(text as SpiffeId);
  return domain === trustDomain ? undefined : `the trust domain of this one is ${trustDomain}`;
}

function renderAll(
  templates: readonly GoTemplate[],
  facts: TemplateFacts,
  faultOf: (text: string) => string | undefined,
): { readonly texts: readonly string[] } | { readonly reason: string } {
  const texts = new Set<string>();
  for (const [n, template] of templates.entries()) {
    const rendered = renderTemplate(template, facts);
    if (rendered.kind === 'none') return { reason: `[${n}]: ${rendered.reason}` };
    const fault = faultOf(rendered.text);
    if (fault !== undefined) return { reason: `[${n}] gives "${shown(rendered.text)}": ${fault}` };
    texts.add(rendered.text);
  }
  return { texts: [...texts] };
}

function unrendered(id: ClusterSpiffeId, reason: string): Assessment {
  return { kind: 'unrendered', id, reason };
}
