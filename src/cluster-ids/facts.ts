import { podUidOf } from '../identity/pod-selector.ts';
import type { Selector } from '../identity/selector.ts';
import type { PodFacts } from '../manifests/template-fields.ts';

/**
 * A pod as selectors that somebody typed describe it; undefined when they are of none. Only to
 * explain with: of a real process the pod itself is asked.
 */
export function describedPod(selectors: readonly Selector[]): PodFacts | undefined {
  const namespace = valueOf(selectors, 'k8s:ns:');
  if (namespace === undefined) return undefined;
  const labels = new Map<string, string>();
  for (const selector of selectors) {
    if (!selector.startsWith('k8s:pod-label:')) continue;
    // Neither the key of a label nor its value holds a colon.
    const [key = '', value = ''] = selector.slice('k8s:pod-label:'.length).split(':');
    labels.set(key, value);
  }
  return {
    namespace,
    labels,
    name: valueOf(selectors, 'k8s:pod-name:'),
    uid: podUidOf(selectors),
    serviceAccount: valueOf(selectors, 'k8s:sa:'),
    nodeName: valueOf(selectors, 'k8s:node-name:'),
    ...{ annotations: undefined, hostname: undefined, subdomain: undefined },
  };
}

function valueOf(selectors: readonly Selector[], prefix: string): string | undefined {
  return selectors.find((selector) => selector.startsWith(prefix))?.slice(prefix.length);
}
