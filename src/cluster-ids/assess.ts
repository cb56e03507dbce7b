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
  /** Whether all there are were heard of: until then one that is not there may be for this pod. */
  complete(): boolean;
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
  /** Whether it is for the pod, or what it gives, cannot be said yet: it gives nothing. */
  | { readonly kind: 'undecided'; readonly reason: string }
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
  const others = assessed.filter(({ id }) => !id.fallback);
  const first = others.find(({ kind }) => kind === 'rendered');
  const open = others.find(({ kind }) => kind === 'undecided');
  if (!first && !open && around.complete()) return assessed;
  return assessed.map((one): Assessment => {
    if (one.kind !== 'rendered' || !one.id.fallback) return one;
    if (first) return { kind: 'yields', id: one.id, to: first.id.source };
    const of = open
      ? `whether ${open.id.source} is for this pod is`
      : 'what else the cluster has is';
    return undecided(one.id, `it is a fallback, and ${of} not known yet`);
  });
}

/** What the pod lacks for certain counts, whatever else is not known. */
function unselected(
  id: ClusterSpiffeId,
  pod: PodFacts,
  around: Surroundings,
): Assessment | undefined {
  const { podSelector, namespaceSelector } = id;
  const { namespace } = pod;
  const ignored = around.ignoredNamespaces.has(namespace)
    ? [`a namespace other than ${namespace} (policy.kubernetes.ignore_namespaces)`]
    : [];
  const labels = namespaceSelector.length > 0 ? around.namespaceLabels(namespace) : NO_LABELS;
  const lacking = [
    ...ignored,
    ...(labels ? lacks('namespaceSelector', namespaceSelector, labels, `${NS} ${namespace}`) : []),
    ...lacks('podSelector', podSelector, pod.labels, 'the pod'),
  ];
  if (lacking.length > 0) {
    const asked = podSelector.length + (labels ? namespaceSelector.length : 0);
    return { kind: 'unselected', id, unmet: lacking, met: Math.max(asked - lacking.length, 0) };
  }
  if (labels) return undefined;
  const all = namespaceSelector.map(requirementText).join(',');
  return undecided(
    id,
    `namespaceSelector ${all}: the labels of ${NS} ${namespace} are not known yet`,
  );
}

const NS = 'the namespace';
const NO_LABELS: Texts = new Map();

function lacks(
  name: string,
  selector: LabelSelector,
  labels: Texts,
  whose: string,
): readonly string[] {
  return unmet(selector, labels).map((requirement) => {
    const value = labels.get(requirement.key);
    const has = value === undefined ? `no ${requirement.key}` : `${requirement.key}=${value}`;
    return `${name} ${requirementText(requirement)} (${whose} has ${has})`;
  });
}

/** Nothing that a template gives is taken for what it should be. What is wrong goes before what is open. */
function render(id: ClusterSpiffeId, facts: TemplateFacts): Assessment {
  const { trustDomain } = facts;
  const spiffeId = renderAll('spiffeIDTemplate', [id.spiffeId], facts, (text) =>
    idFault(text, trustDomain),
  );
  const dnsNames = renderAll('dnsNameTemplates', id.dnsNames, facts, dnsNameFault);
  const selectors = renderAll('workloadSelectorTemplates', id.selectors, facts, selectorFault);
  const parts = [spiffeId, dnsNames, selectors];
  const wrong = parts.find(({ fault }) => fault !== undefined);
  if (wrong?.fault !== undefined) return { kind: 'unrendered', id, reason: wrong.fault };
  const open = parts.find(({ unknown }) => unknown !== undefined);
  if (open?.unknown !== undefined) return undecided(id, open.unknown);
  const entitlement: Entitlement = Object.freeze({
    id: spiffeId.texts[0] as SpiffeId,
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

interface RenderedAll {
  readonly texts: readonly string[];
  /** What is wrong with the first that gives nothing valid. */
  readonly fault?: string;
  /** What is not known yet. */
  readonly unknown?: string;
}

function renderAll(
  field: string,
  templates: readonly GoTemplate[],
  facts: TemplateFacts,
  faultOf: (text: string) => string | undefined,
): RenderedAll {
  const texts = new Set<string>();
  let unknown: string | undefined;
  for (const [n, template] of templates.entries()) {
    const isId = field === 'spiffeIDTemplate';
    const where = isId ? field : `${field}[${n}]`;
    const rendered = renderTemplate(template, facts, isId ? beyondSegment : undefined);
    if (rendered.kind === 'none') return { texts: [], fault: `${where}: ${rendered.reason}` };
    if (rendered.kind === 'unknown') {
      unknown ??= `${where}: ${rendered.reason}`;
      continue;
    }
    const { text } = rendered;
    const fault = faultOf(text);
    if (fault !== undefined)
      return { texts: [], fault: `${where} gives "${shown(text)}": ${fault}` };
    texts.add(text);
  }
  return { texts: [...texts], ...(unknown === undefined ? {} : { unknown }) };
}

function undecided(id: ClusterSpiffeId, reason: string): Assessment {
  return { kind: 'undecided', id, reason };
}
