import type { Selector } from '../identity/selector.ts';
import type { Attestable } from './unmatched.ts';

/** Kinds of which a process has one selector, so never two that differ. */
const ONE_OF_A_KIND = new Set([
  ...['unix:uid', 'unix:gid', 'unix:user', 'unix:group', 'unix:path', 'unix:sha256'],
  ...['k8s:ns', 'k8s:sa', 'k8s:node-name', 'k8s:pod-name', 'k8s:pod-uid', 'k8s:container-name'],
  ...['docker:image_id', 'systemd:id', 'systemd:fragment_path'],
]);
/** A pod has one value for each of its labels, and no name of a label holds a colon. */
const LABEL = /^k8s:pod-label:[^:]+(?=:)/;

/** An id and a name, and where the names of such ids stand. */
const NAMED = [
  ['unix:uid', 'unix:user', 'users'],
  ['unix:gid', 'unix:group', 'groups'],
] as const;

/** Why no process here can have all selectors of an entry at once; undefined when one may. */
export function contradiction(
  selectors: readonly Selector[],
  machine: Pick<Attestable, 'users' | 'groups'>,
): string | undefined {
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
  return misnamed(seen, machine);
}

/** An id beside the name of another one. Of a name that the machine does not know more is wrong. */
function misnamed(
  seen: ReadonlyMap<string, Selector>,
  machine: Pick<Attestable, 'users' | 'groups'>,
): string | undefined {
  for (const [numbers, names, accounts] of NAMED) {
    const [number, name] = [seen.get(numbers), seen.get(names)];
    if (number === undefined || name === undefined) continue;
    const ids = machine[accounts].get(name.slice(names.length + 1));
    if (ids && !ids.has(Number(number.slice(numbers.length + 1)))) {
      return `no process has ${number} and ${name}: ${name.slice(names.length + 1)} is ${[...ids].join(' and ')}`;
    }
  }
  return undefined;
}

/** Whether a process has at most one value of it: `unix:uid`, `k8s:pod-label:app`. */
export function isOneOfAKind(kind: string): boolean {
  return ONE_OF_A_KIND.has(kind) || LABEL.exec(`${kind}:`)?.[0] === kind;
}

/** What selectors that exclude each other have in common. */
function kindOf(selector: Selector): string | undefined {
  const label = LABEL.exec(selector)?.[0];
  if (label !== undefined) return label;
  const kind = selector.slice(0, selector.indexOf(':', selector.indexOf(':') + 1));
  return ONE_OF_A_KIND.has(kind) ? kind : undefined;
}
