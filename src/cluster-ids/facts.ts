import { selector, type Selector } from '../identity/selector.ts';
import type { PodFacts } from '../manifests/template-fields.ts';

const POD_UID = 'k8s:pod-uid:';

/** The pod that a process was attested to be in. */
export function podUidOf(selectors: readonly Selector[]): string | undefined {
  return valueOf(selectors, POD_UID);
}

/** What all processes of the pod have, and no others. */
export function selectorOfPod(uid: string): Selector {
  return selector('k8s', `pod-uid:${uid}`);
}

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
