import { readlinkSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { look, type Look } from './look.ts';

/** As many as the kernel follows in one path. */
const MAX_LINKS = 40;

/**
 * The first symbolic link on the way to `path`, followed to its end, that belongs neither to this
 * user nor to root: its owner decides where the path leads. Undefined when there is none.
 */
export function foreignLink(
  path: string,
  see: Look = look,
): { path: string; uid: number } | undefined {
  const me = process.geteuid?.() ?? 0;
  const rest = resolve(path).split(sep).filter(Boolean);
  let at: string = sep;
  for (let links = 0; rest.length > 0;) {
    const next = join(at, rest.shift() ?? '');
    const stats = see(next);
    if (!stats) return undefined;
    if (!stats.isSymbolicLink()) {
      at = next;
      continue;
    }
    if (stats.uid !== me && stats.uid !== 0) return { path: next, uid: stats.uid };
    // What loops leads nowhere: whoever opens the path is told.
    if (++links > MAX_LINKS) return undefined;
    const target = resolve(dirname(next), readlinkSync(next));
    rest.unshift(...target.split(sep).filter(Boolean));
    at = sep;
  }
  return undefined;
}
