import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { withTold } from './ca-changes.ts';
import type { CaKeeper } from './ca-keeper.ts';
import { isBarred, readToldRoots } from './ca-order.ts';
import { fingerprint } from './ca-state.ts';
import type { UpstreamAuthority } from './upstream-authority.ts';

interface ToldRootsDeps {
  readonly keeper: Pick<CaKeeper, 'state' | 'commit' | 'moment'>;
  /** Undefined: a root of our own, of which nobody tells. */
  readonly upstream: UpstreamAuthority | undefined;
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Takes the roots that the upstream tells of now: they are trusted from now on, and what it tells of no
 * more is not for ever. What is no good is said once and changes nothing.
 */
export function createToldRoots(deps: ToldRootsDeps): () => void {
  const { keeper, upstream, trustDomain, clock, log } = deps;
  /** What was told of last. */
  let last = '';

  return () => {
    const told = upstream?.roots?.current();
    if (!upstream || !told) return;
    const text = told.map((der) => der.toString('base64')).join();
    const nowMs = clock.now();
    const state = keeper.state();
    try {
      const roots = readToldRoots(upstream, told, { trustDomain, nowMs }).filter(
        (root) => !isBarred(state, root),
      );
      const before = state.roots.filter((root) => root.told && !root.tainted);
      const prints = new Set(before.map((root) => fingerprint(root.certificate)));
      const same =
        roots.length === prints.size && roots.every((root) => prints.has(fingerprint(root)));
      if (!same) keeper.commit(withTold(state, roots, keeper.moment()));
    } catch (thrown) {
      if (text !== last) log.warn({ err: thrown }, 'the roots that are told of are not taken');
    }
    last = text;
  };
}
