import { selector, type Selector } from './selector.ts';

const POD_UID = 'k8s:pod-uid:';

/** What all processes of the pod have, and no others. */
export function selectorOfPod(uid: string): Selector {
  return selector('k8s', `pod-uid:${uid}`);
}

/** That of the pod which a process was attested to be in. */
export function podSelectorOf(selectors: readonly Selector[]): Selector | undefined {
  return selectors.find((one) => one.startsWith(POD_UID));
}

/** The pod that a process was attested to be in. */
export function podUidOf(selectors: readonly Selector[]): string | undefined {
  return podSelectorOf(selectors)?.slice(POD_UID.length);
}
