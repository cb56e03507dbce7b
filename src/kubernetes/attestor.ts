import { findPod, type PodRoots } from '../cgroup/pod.ts';
import { parseCgroupLines } from '../cgroup/lines.ts';
import { IdentityError } from '../core/errors.ts';
import type { Selector } from '../identity/selector.ts';
import type { PodView, Seen } from './pod-view.ts';
import type { Pods } from './pods.ts';
import { podSelectors } from './selectors.ts';

/** What is needed of a process. */
interface Peer {
  /** Its `/proc/<pid>/cgroup`; throws as the file system does. */
  cgroup(): string;
}

export interface KubernetesAttestorDeps extends Shown {
  readonly roots: PodRoots;
  readonly pods: Pick<Pods, 'locate'>;
  readonly index: Pick<PodView, 'find' | 'onChange'>;
}

/** Which selectors there are. */
export interface Shown {
  /** Whether containers that somebody added to a running pod have its identity. */
  readonly ephemeral: boolean;
  /** Whether a container has selectors of its own; unless told otherwise it has. */
  readonly containers?: boolean;
}

/**
 * SPIRE's `k8s` selectors of a process in a pod; none of one that is in no pod. Everything else
 * fails: a process in a pod must not pass for one of the host's own.
 */
export function createKubernetesAttestor(deps: KubernetesAttestorDeps) {
  const { roots, pods, index } = deps;

  function attest(peer: Peer, options: { signal: AbortSignal }) {
    const cgroup = peer.cgroup();
    const place = findPod(parseCgroupLines(cgroup), roots);
    if (!place) return { selectors: [], agrees: () => peer.cgroup() === cgroup };
    const { podUid, containerId } = place;
    if (containerId === undefined) {
      throw new IdentityError('ERR_ATTESTATION', `it is in pod ${podUid}, in no container of it`);
    }
    const evidence = (found: Seen) => ({
      selectors: selectorsOf(found, deps),
      agrees: () => peer.cgroup() === cgroup,
      follow(tell: (now: readonly Selector[] | IdentityError) => void) {
        const look = () => tell(selectorsNow(podUid, containerId));
        const stop = index.onChange((uid) => uid === found.pod.uid && look());
        // What has happened since it was found, while others were asked.
        if (!isStill(found, () => index.find(podUid, containerId))) look();
        return stop;
      },
    });
    const found = pods.locate(podUid, containerId, options);
    if (!(found instanceof Promise)) return evidence(found);
    return found.then((now) => {
      // What was true before the wait may be so no more.
      if (peer.cgroup() !== cgroup) throw moved();
      return evidence(now);
    });
  }

  function selectorsNow(podUid: string, containerId: string): readonly Selector[] | IdentityError {
    try {
      const found = index.find(podUid, containerId);
      return found ? selectorsOf(found, deps) : gone(podUid);
    } catch (thrown) {
      return thrown instanceof IdentityError ? thrown : gone(podUid);
    }
  }

  return { name: 'kubernetes', attest } as const;
}

function isStill(seen: Seen, look: () => Seen | undefined): boolean {
  try {
    const now = look();
    return now?.pod === seen.pod && now.namespaceLabels === seen.namespaceLabels;
  } catch {
    return false;
  }
}

/** Of a process in this container; throws `ERR_ATTESTATION` when it is not to have any. */
export function selectorsOf(seen: Seen, { ephemeral, containers = true }: Shown) {
  const { pod, container } = seen;
  if (container?.kind === 'ephemeral' && !ephemeral) {
    throw new IdentityError(
      'ERR_ATTESTATION',
      `${container.name} was added to pod ${pod.namespace}/${pod.name} while it ran`,
      { hint: 'attestation.kubernetes.ephemeral_containers gives it the identities of the pod' },
    );
  }
  return podSelectors(containers ? seen : { ...seen, container: undefined });
}

function moved(): IdentityError {
  return new IdentityError('ERR_PEER_GONE', 'the process has moved to another cgroup');
}

function gone(podUid: string): IdentityError {
  return new IdentityError('ERR_PEER_GONE', `its container or pod ${podUid} is no more`);
}
