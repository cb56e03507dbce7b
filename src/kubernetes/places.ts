import { IdentityError } from '../core/errors.ts';

/** A pod has a few containers with a few processes each. */
const PLACES = { pod: 64, all: 2048 };

/**
 * Who has to give way to one more of a pod; undefined while there is room. A pod has its own places,
 * and when all are taken it is the newest of the pod with the most: a few pods that are long in
 * coming must not keep all others out. Throws `ERR_LIMIT` where nobody gives way.
 */
export function whoGivesWay<W extends { readonly podUid: string }>(
  waiting: ReadonlySet<W>,
  podUid: string,
): W | undefined {
  const own = [...waiting].filter((one) => one.podUid === podUid).length;
  if (own >= PLACES.pod) throw crowded();
  if (waiting.size < PLACES.all) return undefined;
  const byPod = new Map<string, { count: number; newest: W }>();
  for (const one of waiting) {
    const count = (byPod.get(one.podUid)?.count ?? 0) + 1;
    byPod.set(one.podUid, { count, newest: one });
  }
  const [first, ...others] = byPod.values();
  const most = first && others.reduce((a, b) => (b.count > a.count ? b : a), first);
  // A pod that would have as many by then gains nothing for the node.
  if (!most || most.count <= own + 1) throw crowded();
  return most.newest;
}

/** What becomes of who has no place. */
export function crowded(): IdentityError {
  return new IdentityError('ERR_LIMIT', 'too many processes wait for their pod to be known');
}
