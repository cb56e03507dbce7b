import type { PolicyEntry } from './entry.ts';
import { hasPlaceholder } from './template.ts';

const ROOT = 'root, which may become anybody and is what most of a machine runs as';
const NOBODY = 'nobody, which services share that have nothing to do with each other';
const COMMON = 'a group that every user may be in';

const GROUP = 'a group, whoever its user is and whatever it runs';
const IN_GROUP = /^unix:(?:gid|group|supplementary_gid|supplementary_group):/;

/** Selectors that say too little of a process, by how Linux distributions number and name accounts. */
const SHARED: ReadonlyMap<string, string> = new Map([
  ...both('0', 'root', ROOT),
  ...both('65534', 'nobody', NOBODY),
  ['unix:group:nogroup', NOBODY],
  ['unix:supplementary_group:nogroup', NOBODY],
  ...group('100', 'users', COMMON),
]);

/**
 * Why an entry fits more processes than an identity should: all that it asks for is an account that
 * unrelated programs share, or groups. With a placeholder in its ID an entry is meant for many.
 */
export function tooBroad({
  selectors,
  spiffeId,
}: Pick<PolicyEntry, 'selectors' | 'spiffeId'>): string | undefined {
  if (hasPlaceholder(spiffeId)) return undefined;
  const shared = selectors.every((selector) => SHARED.has(selector));
  const whose = shared
    ? SHARED.get(selectors[0] ?? '')
    : selectors.every((selector) => IN_GROUP.test(selector))
      ? GROUP
      : undefined;
  if (whose === undefined) return undefined;
  return `${selectors.join(' and ')} is too broad for ${spiffeId}: it is every process of ${whose}; add a selector that tells them apart`;
}

function both(id: string, name: string, whose: string): [string, string][] {
  return [[`unix:uid:${id}`, whose], [`unix:user:${name}`, whose], ...group(id, name, whose)];
}

function group(id: string, name: string, whose: string): [string, string][] {
  return [
    [`unix:gid:${id}`, whose],
    [`unix:group:${name}`, whose],
    [`unix:supplementary_gid:${id}`, whose],
    [`unix:supplementary_group:${name}`, whose],
  ];
}
