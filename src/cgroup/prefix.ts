import type { CgroupLine } from './lines.ts';

/**
 * What stands before the pods' cgroups on this node, as the cgroups of a process that is in a pod
 * itself show it; undefined of one that is in none.
 */
export function podPrefix(
  lines: readonly CgroupLine[],
  kubeletRoots: readonly string[],
): readonly string[] | undefined {
  const anchors = new Set([
    'kubepods',
    'kubepods.slice',
    ...kubeletRoots.flatMap((root) => [root, `${root}.slice`]),
  ]);
  for (const { segments } of lines) {
    const at = segments.findIndex((segment) => anchors.has(segment));
    if (at >= 0) return segments.slice(0, at);
  }
  return undefined;
}
