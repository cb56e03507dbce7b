import type { FollowDeps } from '../kubernetes/follow.ts';
import { createKnownRoots, type KnownRoots } from './known-roots.ts';
import { followRootsFile } from './roots-file.ts';
import { followConfigMap, followTrustBundle } from './roots-object.ts';

/** Where the roots of a CA are that does not bring them along. */
export type RootsPlace =
  | { readonly kind: 'config_map'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'cluster_trust_bundle'; readonly name: string }
  | { readonly kind: 'file'; readonly path: string };

/** Follows them until the signal is aborted. */
export function followRoots(place: RootsPlace, deps: FollowDeps): KnownRoots {
  const { signal, log, clock } = deps;
  const roots = createKnownRoots(nameOfPlace(place), log);
  if (place.kind === 'file') {
    const stop = followRootsFile(place.path, roots, clock);
    signal.addEventListener('abort', stop, { once: true });
    return roots;
  }
  const following =
    place.kind === 'config_map'
      ? followConfigMap(place, roots, deps)
      : followTrustBundle(place.name, roots, deps);
  following.catch((err: unknown) => {
    if (!signal.aborted) log.error({ err }, 'the roots are not followed any more');
  });
  return roots;
}

function nameOfPlace(place: RootsPlace): string {
  switch (place.kind) {
    case 'config_map':
      return `ConfigMap ${place.namespace}/${place.name}`;
    case 'cluster_trust_bundle':
      return `ClusterTrustBundle ${place.name}`;
    case 'file':
      return place.path;
  }
}
