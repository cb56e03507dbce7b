import type { Selector } from '../identity/selector.ts';

/** Kinds of which a process has one selector, so never two that differ. */
const ONE_OF_A_KIND = new Set([
  ...['unix:uid', 'unix:gid', 'unix:user', 'unix:group', 'unix:path', 'unix:sha256'],
  ...['k8s:ns', 'k8s:sa', 'k8s:node-name', 'k8s:pod-name', 'k8s:pod-uid', 'k8s:container-name'],
  ...['docker:image_id', 'systemd:id', 'systemd:fragment_path'],
]);
/** A pod has one value for each of its labels, and no name of a label holds a colon. */
const LABEL = /^k8s:pod-label:[^:]+(?=:)/;

/** Why no process can have all selectors of an entry at once; undefined when one may. */
export function contradiction(selectors: readonly Selector[]): string | undefined {
  if (selectors.length < 2) return undefined;
  const seen = new Map<string, Selector>();
  for (const selector of selectors) {
    const kind = kindOf(selector);
    const other = kind === undefined ? undefined : seen.get(kind);
    if (other !== undefined) {
      return `no process has ${other} and ${selector}: they exclude each other`;
    }
    if (kind !== undefined) seen.set(kind, selector);
  }
  return undefined;
}

/** What selectors that exclude each other have in common. */
function kindOf(selector: Selector): string | undefined {
  const label = LABEL.exec(selector)?.[0];
  if (label !== undefined) return label;
  const kind = selector.slice(0, selector.indexOf(':', selector.indexOf(':') + 1));
  return ONE_OF_A_KIND.has(kind) ? kind : undefined;
}
