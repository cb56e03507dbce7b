import { list, record, text, texts, type Fields } from './fields.ts';

/**
 * What is kept of a pod. The rest of it, its environment above all, may hold secrets and is let go
 * of at once. Every field of what an API server says is taken for optional.
 */
export interface Pod {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly nodeName: string;
  /** Empty for a static pod, which has none. */
  readonly serviceAccount: string;
  readonly hostname: string;
  readonly subdomain: string;
  readonly labels: ReadonlyMap<string, string>;
  /** Those that a template can use, not all: see `readAnnotations`. */
  readonly annotations: ReadonlyMap<string, string>;
  readonly owners: readonly Owner[];
  /** Digest of a static pod's configuration, which its cgroup names instead of the uid. */
  readonly configHash: string | undefined;
  readonly containers: readonly Container[];
  /** An ephemeral container was added that has no id yet: any that nobody tells of may be its own. */
  readonly pendingEphemeral: boolean;
  /** It has failed or succeeded: none of its containers runs, nor ever will again. */
  readonly ended: boolean;
  readonly resourceVersion: string;
}

export interface Owner {
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

export interface Container {
  readonly kind: 'container' | 'init' | 'ephemeral';
  readonly name: string;
  /** As the runtime knows it, without `containerd://`; empty while it has none. */
  readonly id: string;
  readonly image: string;
  readonly imageId: string;
}

const STATUSES = [
  ['container', 'containerStatuses'],
  ['init', 'initContainerStatuses'],
  ['ephemeral', 'ephemeralContainerStatuses'],
] as const;

const ENDED = ['Failed', 'Succeeded'];

/** Marks of a static pod's mirror and of its kubelet. */
const OF_STATIC_PODS = ['mirror', 'hash', 'source'].map((name) => `kubernetes.io/config.${name}`);
/** No longer a value, which is as long as the longest SPIFFE ID, and no more of them. */
const MAX_ANNOTATION = { length: 2048, count: 128 };

/** Reads an object of the API; undefined when it is no pod that could be told apart. */
export function readPod(value: unknown): Pod | undefined {
  const metadata = record(record(value)['metadata']);
  const spec = record(record(value)['spec']);
  const status = record(record(value)['status']);
  const uid = text(metadata['uid']);
  const name = text(metadata['name']);
  const namespace = text(metadata['namespace']);
  if (uid === '' || name === '' || namespace === '') return undefined;
  const annotations = readAnnotations(metadata['annotations']);
  // A mirror of a static pod carries both; whether they are the kubelet's the container id tells.
  const mirror = annotations.has('kubernetes.io/config.mirror');
  const containers = STATUSES.flatMap(([kind, key]) =>
    list(status[key]).map((container) => readContainer(kind, record(container))),
  );
  return {
    ...{ uid, name, namespace, annotations, containers },
    nodeName: text(spec['nodeName']),
    serviceAccount: text(spec['serviceAccountName']),
    hostname: text(spec['hostname']),
    subdomain: text(spec['subdomain']),
    labels: texts(metadata['labels']),
    owners: list(metadata['ownerReferences']).map((owner) => ({
      kind: text(record(owner)['kind']),
      name: text(record(owner)['name']),
      uid: text(record(owner)['uid']),
    })),
    configHash: mirror ? annotations.get('kubernetes.io/config.hash') : undefined,
    pendingEphemeral: isAnyPending(list(spec['ephemeralContainers']), containers),
    ended: ENDED.includes(text(status['phase'])),
    resourceVersion: text(metadata['resourceVersion']),
  };
}

function isAnyPending(added: readonly unknown[], containers: readonly Container[]): boolean {
  const started = containers.filter(({ kind, id }) => kind === 'ephemeral' && id !== '');
  const names = new Set(started.map(({ name }) => name));
  return added.some((one) => !names.has(text(record(one)['name'])));
}

/**
 * Without those that are too long or too many, as if the pod did not have them: what annotations it
 * has is its own choice anyway, and what it makes us keep has to have an end.
 */
function readAnnotations(value: unknown): ReadonlyMap<string, string> {
  const fit = [...texts(value)].filter(([, one]) => one.length <= MAX_ANNOTATION.length);
  const marks = fit.filter(([key]) => OF_STATIC_PODS.includes(key));
  return new Map([...fit.slice(0, MAX_ANNOTATION.count), ...marks]);
}

function readContainer(kind: Container['kind'], status: Fields): Container {
  const url = text(status['containerID']);
  const scheme = url.indexOf('://');
  return {
    kind,
    name: text(status['name']),
    id: scheme < 0 ? '' : url.slice(scheme + 3),
    image: text(status['image']),
    imageId: text(status['imageID']),
  };
}
