import { IdentityError } from '../core/errors.ts';
import { selector, type Selector } from '../identity/selector.ts';
import type { Container, Pod } from './pod.ts';
import type { Seen } from './pod-view.ts';

/** Which selectors there are. */
export interface Shown {
  /** Whether containers that somebody added to a running pod have its identity. */
  readonly ephemeral: boolean;
  /** Whether a container has selectors of its own; unless told otherwise it has. */
  readonly containers?: boolean;
}

/** The API server does not bound them, but each process of a pod is matched by all of them. */
const MAX_SELECTORS = 512;

/**
 * The selectors of a process in a container, sorted; throws `ERR_ATTESTATION` when it is not to have
 * any. Those of a pod as it was told of are made once, for all its processes.
 */
export function createSelectorsOf({
  ephemeral,
  containers = true,
}: Shown): (seen: Seen) => readonly Selector[] {
  const remembered = createMemory();
  return (seen) => {
    const { pod, namespaceLabels } = seen;
    if (seen.container?.kind === 'ephemeral' && !ephemeral) throw added(pod, seen.container);
    const container = containers ? seen.container : undefined;
    const shared = remembered(pod, namespaceLabels, () => {
      refuseTooMany(seen);
      return podSelectors({ ...seen, container: undefined }).sort();
    });
    if (!container) return shared;
    return remembered(container, namespaceLabels, () =>
      [...shared, ...containerSelectors(container)].sort(),
    );
  };
}

/** Keeps what was made of a pod or a container for as long as that is known. */
function createMemory() {
  type Labels = Seen['namespaceLabels'];
  const known = new WeakMap<Pod | Container, { labels: Labels; selectors: readonly Selector[] }>();
  return (thing: Pod | Container, labels: Labels, make: () => readonly Selector[]) => {
    const before = known.get(thing);
    if (before && before.labels === labels) return before.selectors;
    const selectors = make();
    known.set(thing, { labels, selectors });
    return selectors;
  };
}

function refuseTooMany({ pod, namespaceLabels }: Seen): void {
  const { labels, owners, containers } = pod;
  // Of an owner and of a container there are two, a kind or name and what it is exactly.
  const count =
    labels.size + (namespaceLabels?.size ?? 0) + 2 * (owners.length + containers.length);
  if (count <= MAX_SELECTORS) return;
  throw new IdentityError(
    'ERR_ATTESTATION',
    `pod ${pod.namespace}/${pod.name} has ${count} selectors of labels, owners and images, at most ${MAX_SELECTORS} are looked at`,
  );
}

function added(pod: Pod, { name }: Container): IdentityError {
  return new IdentityError(
    'ERR_ATTESTATION',
    `${name} was added to pod ${pod.namespace}/${pod.name} while it ran`,
    { hint: 'attestation.kubernetes.ephemeral_containers gives it the identities of the pod' },
  );
}

/**
 * SPIRE's `k8s` selectors of a container in a pod, to the letter: images as they are reported, each
 * once, and native sidecars counted among the init containers. Without a container those of the pod
 * alone.
 */
export function podSelectors({ pod, container, namespaceLabels }: Seen): Selector[] {
  const selectors: Selector[] = [];
  const add = (value: string) => selectors.push(selector('k8s', value));
  // A static pod has no service account; a selector with an empty value matches nothing on purpose.
  if (pod.serviceAccount !== '') add(`sa:${pod.serviceAccount}`);
  add(`ns:${pod.namespace}`);
  add(`node-name:${pod.nodeName}`);
  add(`pod-uid:${pod.uid}`);
  add(`pod-name:${pod.name}`);
  for (const [kind, prefix] of [
    ['container', 'pod'],
    ['init', 'pod-init'],
  ] as const) {
    const containers = pod.containers.filter((each) => each.kind === kind);
    add(`${prefix}-image-count:${containers.length}`);
    for (const image of images(containers)) add(`${prefix}-image:${image}`);
  }
  for (const [key, value] of pod.labels) add(`pod-label:${key}:${value}`);
  for (const [key, value] of namespaceLabels ?? []) add(`ns-label:${key}:${value}`);
  for (const { kind, name, uid } of pod.owners) {
    add(`pod-owner:${kind}:${name}`);
    add(`pod-owner-uid:${kind}:${uid}`);
  }
  return container ? [...selectors, ...containerSelectors(container)] : selectors;
}

function containerSelectors(container: Container): Selector[] {
  const values = [...images([container])].map((image) => `container-image:${image}`);
  return [`container-name:${container.name}`, ...values].map((value) => selector('k8s', value));
}

function images(containers: readonly Container[]): Set<string> {
  const all = containers.flatMap(({ image, imageId }) => [image, imageId]);
  return new Set(all.filter((image) => image !== ''));
}
