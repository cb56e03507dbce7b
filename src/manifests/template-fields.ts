/** Texts by their keys, as labels and annotations are. */
export type Texts = ReadonlyMap<string, string>;

/** What a template can take from a pod; what is undefined is not known. */
export interface PodFacts {
  readonly name: string | undefined;
  readonly namespace: string;
  readonly uid: string | undefined;
  readonly labels: Texts;
  readonly annotations: Texts | undefined;
  /** Empty for a static pod, which has none. */
  readonly serviceAccount: string | undefined;
  readonly nodeName: string | undefined;
  readonly hostname: string | undefined;
  readonly subdomain: string | undefined;
}

export interface NodeFacts {
  readonly name: string;
  readonly uid: string;
  readonly labels: Texts;
  readonly annotations: Texts;
}

/** All that a template is evaluated with. */
export interface TemplateFacts {
  readonly trustDomain: string;
  /** Empty: not configured. */
  readonly clusterName: string;
  readonly clusterDomain: string;
  readonly pod: PodFacts;
  readonly node: NodeFacts | undefined;
}

type Field =
  | {
      readonly type: 'text';
      readonly read: (from: TemplateFacts) => string | undefined;
      readonly without: Without;
    }
  | {
      readonly type: 'texts';
      readonly read: (from: TemplateFacts) => Texts | undefined;
      readonly without: Without;
    };

/** What it means that a field has no value: there is none, or nobody has told of it yet. */
export type Without =
  | { readonly kind: 'none'; readonly reason: string }
  | { readonly kind: 'unknown'; readonly reason: string };

const text = (
  read: (from: TemplateFacts) => string | undefined,
  without: Without = UNKNOWN,
): Field => ({
  type: 'text',
  read,
  without,
});
const texts = (read: (from: TemplateFacts) => Texts | undefined, without = UNKNOWN): Field => ({
  type: 'texts',
  read,
  without,
});

const UNKNOWN: Without = { kind: 'unknown', reason: 'it is not known of this pod' };
const NO_NODE: Without = {
  kind: 'unknown',
  reason: 'the node is not known yet (nodes: list, watch)',
};
const notSet = (setting: string): Without => ({ kind: 'none', reason: `${setting} is not set` });
const setting = (value: string) => (value === '' ? undefined : value);

/** Each field there is, by its name without the first dot. */
const FIELDS: Readonly<Record<string, Field>> = {
  TrustDomain: text(({ trustDomain }) => trustDomain),
  ClusterName: text(
    ({ clusterName }) => setting(clusterName),
    notSet('policy.kubernetes.cluster_name'),
  ),
  ClusterDomain: text(
    ({ clusterDomain }) => setting(clusterDomain),
    notSet('policy.kubernetes.cluster_domain'),
  ),
  'PodMeta.Name': text(({ pod }) => pod.name),
  'PodMeta.Namespace': text(({ pod }) => pod.namespace),
  'PodMeta.UID': text(({ pod }) => pod.uid),
  'PodMeta.Labels': texts(({ pod }) => pod.labels),
  'PodMeta.Annotations': texts(({ pod }) => pod.annotations),
  'PodSpec.ServiceAccountName': text(({ pod }) => pod.serviceAccount),
  'PodSpec.NodeName': text(({ pod }) => pod.nodeName),
  'PodSpec.Hostname': text(({ pod }) => pod.hostname),
  'PodSpec.Subdomain': text(({ pod }) => pod.subdomain),
  'NodeMeta.Name': text(({ node }) => node?.name, NO_NODE),
  'NodeMeta.UID': text(({ node }) => node?.uid, NO_NODE),
  'NodeMeta.Labels': texts(({ node }) => node?.labels, NO_NODE),
  'NodeMeta.Annotations': texts(({ node }) => node?.annotations, NO_NODE),
};

export const FIELD_NAMES: readonly string[] = Object.keys(FIELDS);

/** The field of this name, or undefined. */
export function fieldOf(name: string): Field | undefined {
  return Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
}
