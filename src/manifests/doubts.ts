import { shown, type YamlPath } from '../core/yaml.ts';
import { isImageDigest, isImageTag } from '../identity/image-selector.ts';
import type { ClusterSpiffeId } from './cluster-spiffe-id.ts';
import type { LabelSelector } from './label-selector.ts';
import { constantOf, type Expression, type GoTemplate } from './template.ts';

/** What works and is probably not meant so. */
export interface Doubt {
  /** Of the `spec`. */
  readonly key: YamlPath;
  readonly why: string;
}

type Judged = Pick<
  ClusterSpiffeId,
  'spiffeId' | 'podSelector' | 'namespaceSelector' | 'dnsNames' | 'selectors'
>;

/**
 * Where a `ClusterSPIFFEID` rests on what others than the operator choose: labels and annotations,
 * which whoever may change a pod changes; a namespace, in which many may make pods; a tag, which
 * whoever pushes an image moves. An ID that says namespace and service account is what Kubernetes
 * gave the pod, whatever selects it.
 */
export function doubtsAbout(id: Judged): readonly Doubt[] {
  const own = chosenByPods(id.spiffeId);
  const names = id.dnsNames.flatMap((template, n): Doubt[] => {
    const [taken] = chosenByPods(template);
    if (taken === undefined) return [];
    const why = `it takes ${taken}: whoever may change the pod chooses the name in its certificate; write the name out, or make it of .PodMeta.Namespace and .PodSpec.ServiceAccountName`;
    return [{ key: ['dnsNameTemplates', n], why }];
  });
  const tags = id.selectors.flatMap((template, n): Doubt[] => {
    if (!isImageTag(shape(template))) return [];
    const why = `${shown(template.text)} is no digest: whoever may push to that registry moves a tag; ask for the digest instead (…@sha256:…)`;
    return [{ key: ['workloadSelectorTemplates', n], why }];
  });
  const all = [...names, ...tags];
  if (own.length > 0) {
    const why = `it takes ${own.join(' and ')}: whoever may change the pod chooses that part of the ID; take .PodSpec.ServiceAccountName instead`;
    all.push({ key: ['spiffeIDTemplate'], why });
  }
  if (isAmbiguous(id.spiffeId)) {
    const why = `two values in one segment can give different pods the same ID; put a / in between`;
    all.push({ key: ['spiffeIDTemplate'], why });
  }
  const loose = restsOnLittle(id, own.length > 0);
  return loose ? [...all, loose] : all;
}

/** Why an ID is had by whoever may make a pod, anywhere or in its namespace. */
function restsOnLittle(id: Judged, ownWords: boolean): Doubt | undefined {
  const { podSelector, namespaceSelector, selectors } = id;
  const said = new Set(id.spiffeId.parts.map(saidBy));
  const asked = selectors.flatMap((template) => constantOf(template) ?? []);
  const asks = (prefix: string) => asked.some((selector) => selector.startsWith(prefix));
  if (said.has('PodMeta.UID') || asks('k8s:pod-uid:')) return undefined;
  const namespace =
    said.has('PodMeta.Namespace') ||
    ['k8s:ns:', 'k8s:ns-label:'].some(asks) ||
    picks(namespaceSelector);
  const account =
    said.has('PodSpec.ServiceAccountName') || asks('k8s:sa:') || asked.some(isImageDigest);
  if (namespace && (account || ownWords)) return undefined;
  const what = [
    ...(namespace ? [] : [['.PodMeta.Namespace', 'k8s:ns:NAME']]),
    ...(account ? [] : [['.PodSpec.ServiceAccountName', 'k8s:sa:NAME']]),
  ];
  const [fields, texts] = [0, 1].map((n) => what.map((one) => one[n]).join(' and '));
  const instead = `put ${fields} into spiffeIDTemplate, or ${texts} into workloadSelectorTemplates`;
  const doubt = (key: string, why: string) => ({ key: [key], why: `${why}; ${instead}` });
  const where = namespace ? 'there' : 'in any namespace';
  if (picks(podSelector)) {
    const why = `labels alone select its pods: whoever may make or change a pod ${where} gets the ID`;
    return doubt('podSelector', why);
  }
  const leavesOut = podSelector.length > 0 ? 'podSelector' : 'namespaceSelector';
  if (podSelector.length > 0 || (!namespace && namespaceSelector.length > 0)) {
    const why = `it only leaves some out: whoever may make a pod ${where} without those labels gets the ID`;
    return doubt(leavesOut, why);
  }
  return namespace
    ? doubt(
        namespaceSelector.length > 0 ? 'namespaceSelector' : 'spiffeIDTemplate',
        'the namespace is all that the ID rests on: whoever may make a pod there gets it',
      )
    : doubt('spiffeIDTemplate', 'it selects every pod of the cluster, whatever its namespace');
}

/** Whether labels are asked for; a selector that only leaves some out also has what is made later. */
function picks(selector: LabelSelector): boolean {
  return selector.some(({ operator }) => operator === 'In' || operator === 'Exists');
}

/** The field that a part of a template is, whole: cut or replaced, two pods' values may be one. */
function saidBy(part: Expression): string | undefined {
  if (part.kind === 'field') return part.name;
  if (part.kind !== 'call') return undefined;
  const [first, second] = part.args;
  if (part.name === 'default') return second && saidBy(second);
  return first && (part.name === 'lower' || part.name === 'upper') ? saidBy(first) : undefined;
}

const CHOSEN: Readonly<Record<string, string>> = {
  'PodMeta.Labels': 'label',
  'PodMeta.Annotations': 'annotation',
};

/** Labels and annotations of the pod that a template takes. */
function chosenByPods({ parts }: GoTemplate): readonly string[] {
  const found = new Set<string>();
  const walk = (part: Expression): void => {
    if (part.kind === 'call') part.args.forEach(walk);
    if (part.kind !== 'member') return;
    walk(part.key);
    const what = CHOSEN[part.map];
    if (what === undefined) return;
    const { key } = part;
    found.add(
      key.kind === 'text' ? `the pod's ${what} ${shown(key.value)}` : `some ${what} of the pod`,
    );
  };
  parts.forEach(walk);
  return [...found];
}

/** The text of a template with something for what is not the same for everybody. */
function shape({ parts }: GoTemplate): string {
  return parts.map((part) => (part.kind === 'text' ? part.value : 'x')).join('');
}

/** Fields that hold letters, digits, `-` and `.` at the most. */
const PLAIN = ['PodMeta.Name', 'PodMeta.Namespace', 'PodMeta.UID', 'PodSpec.ServiceAccountName'];

/** Fields that the configuration fills. */
const OPERATORS = ['TrustDomain', 'ClusterName', 'ClusterDomain'];

/**
 * Whether two values share a segment with nothing between them that tells where one ends: `a-b` and
 * `c` look like `a` and `b-c`. No name of Kubernetes holds a `_`, nor that of a namespace a dot.
 */
function isAmbiguous({ parts }: GoTemplate): boolean {
  let before: Expression | undefined;
  let between = '';
  for (const part of parts) {
    if (part.kind === 'text' || OPERATORS.includes(saidBy(part) ?? '')) {
      between += part.kind === 'text' ? part.value : 'x';
      continue;
    }
    const [left = '', right = ''] = [before && saidBy(before), saidBy(part)];
    const told =
      between.includes('/') ||
      (between.includes('_') && PLAIN.includes(left) && PLAIN.includes(right)) ||
      (between.includes('.') && left === 'PodMeta.Namespace');
    const varies = (name: string) =>
      !['TrustDomain', 'ClusterName', 'ClusterDomain'].includes(name);
    if (before && !told && varies(left) && varies(right)) return true;
    [before, between] = [part, ''];
  }
  return false;
}
