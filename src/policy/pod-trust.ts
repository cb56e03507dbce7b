import { isImageTag } from '../identity/image-selector.ts';
import type { PolicyEntry } from './entry.ts';

/** How much of a pod's identity a selector vouches for. */
type Footing = 'namespace' | 'label' | 'tag' | 'other';

const PLACEHOLDER = /\{([^{}]*)\}/g;

/**
 * Why an entry for pods rests on what others than the operator choose: a namespace, in which many may
 * make pods; labels, which whoever may change a pod changes; a tag, which whoever pushes an image moves.
 */
export function restsOnLittle({
  selectors,
  spiffeId,
}: Pick<PolicyEntry, 'selectors' | 'spiffeId'>): string | undefined {
  if (!selectors.some((selector) => selector.startsWith('k8s:'))) return undefined;
  const tag = selectors.find((selector) => footing(selector) === 'tag');
  if (tag !== undefined) {
    return `${tag} is a tag, and whoever may push to that registry moves it; ask for the digest instead (…@sha256:…)`;
  }
  // What an ID takes from a process it rests on as well.
  const filled = Array.from(spiffeId.matchAll(PLACEHOLDER), ([, key = '']) => `${key}:`);
  const all = [...selectors, ...filled].map(footing);
  if (all.includes('other')) return undefined;
  const named = [...selectors, ...filled.map((key) => `{${key.slice(0, -1)}}`)].join(' and ');
  return all.includes('label')
    ? `${named} is all that ${spiffeId} rests on: whoever may change the labels of a pod gets it; add k8s:sa and k8s:ns`
    : `${named} is all that ${spiffeId} rests on: whoever may make a pod there gets it; add k8s:sa`;
}

function footing(selector: string): Footing {
  if (/^k8s:(?:ns|ns-label|node-name):/.test(selector)) return 'namespace';
  if (selector.startsWith('k8s:pod-label:')) return 'label';
  return isImageTag(selector) ? 'tag' : 'other';
}
