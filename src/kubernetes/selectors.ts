import { selector, type Selector } from '../identity/selector.ts';
import type { Container } from './pod.ts';
import type { Seen } from './pod-view.ts';

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
  if (container) {
    add(`container-name:${container.name}`);
    for (const image of images([container])) add(`container-image:${image}`);
  }
  return selectors;
}

function images(containers: readonly Container[]): Set<string> {
  const all = containers.flatMap(({ image, imageId }) => [image, imageId]);
  return new Set(all.filter((image) => image !== ''));
}
