import { isImageTag } from '../identity/image-selector.ts';
import type { PolicyEntry } from './entry.ts';

/** How much of a pod's identity a selector vouches for. */
type Footing = 'maker' | 'label' | 'account' | 'tag' | 'other';

const PLACEHOLDER = /\{([^{}]*)\}/g;
/** What whoever may make a pod in a namespace writes into it, and that namespace. */
const MAKERS =
  /^k8s:(?:ns|ns-label|node-name|pod-name|container-name|pod-owner(?:-uid)?|pod(?:-init)?-image-count):/;

/**
 * Why an entry for pods rests on what others than the operator choose: a namespace, in which many may
 * make pods; labels, which whoever may change a pod changes; a service account of any namespace; a tag,
 * which whoever pushes an image moves.
 */
export function restsOnLittle({
  selectors,
  spiffeId,
}: Pick<PolicyEntry, 'selectors' | 'spiffeId'>): string | undefined {
  if (!selectors.some((selector) => selector.startsWith('k8s:'))) return undefined;
  const tag = selectors.find(isImageTag);
  if (tag !== undefined) {
    return `${tag} is a tag, and whoever may push to that registry moves it; ask for the digest instead (…@sha256:…)`;
  }
  // What an ID takes from a process it rests on as well.
  const filled = Array.from(spiffeId.matchAll(PLACEHOLDER), ([, key = '']) => `${key}:`);
  const parts = [...selectors, ...filled];
  const inNamespace = parts.some((part) => part.startsWith('k8s:ns:'));
  const all = parts.map((part) => footing(part, inNamespace));
  if (all.includes('other')) return undefined;
  const named = [...selectors, ...filled.map((key) => `{${key.slice(0, -1)}}`)].join(' and ');
  const little = `${named} is all that ${spiffeId} rests on: whoever may`;
  if (all.includes('account')) {
    return `${little} have a service account of that name in any namespace gets it; add k8s:ns`;
  }
  return all.includes('label')
    ? `${little} change the labels of a pod gets it; add k8s:sa and k8s:ns`
    : `${little} make a pod there gets it; add k8s:sa`;
}

function footing(selector: string, inNamespace: boolean): Footing {
  if (MAKERS.test(selector)) return 'maker';
  if (selector.startsWith('k8s:pod-label:')) return 'label';
  if (selector.startsWith('k8s:sa:')) return inNamespace ? 'other' : 'account';
  return isImageTag(selector) ? 'tag' : 'other';
}
