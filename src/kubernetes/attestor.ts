import { findPod, type PodRoots } from '../cgroup/pod.ts';
import { parseCgroupLines } from '../cgroup/lines.ts';
import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { Selector } from '../identity/selector.ts';
import { createFollowers, type Follower } from './followers.ts';
import type { PodView, Seen } from './pod-view.ts';
import type { Pods } from './pods.ts';
import { createSelectorsOf, type Shown } from './selectors.ts';

/** What is needed of a process. */
interface Peer {
  /** Its `/proc/<pid>/cgroup`; throws as the file system does. */
  cgroup(): string;
}

export interface KubernetesAttestorDeps extends Shown {
  readonly roots: PodRoots;
  readonly pods: Pick<Pods, 'locate'>;
  readonly index: Pick<PodView, 'find' | 'onChange'>;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** What somebody threw who was told of other selectors. */
  readonly onListenerError: (thrown: unknown) => void;
}

/**
 * SPIRE's `k8s` selectors of a process in a pod; none of one that is in no pod. Everything else
 * fails: a process in a pod must not pass for one of the host's own.
 */
export function createKubernetesAttestor(deps: KubernetesAttestorDeps) {
  const { roots, pods, index } = deps;
  const selectorsOf = createSelectorsOf(deps);
  const followers = createFollowers(deps.clock, deps.onListenerError);
  index.onChange((uid) => followers.changed(uid));

  function attest(peer: Peer, options: { signal: AbortSignal }) {
    const cgroup = peer.cgroup();
    const place = findPod(parseCgroupLines(cgroup), roots);
    if (!place) return { selectors: [], agrees: () => peer.cgroup() === cgroup };
    const { podUid, containerId } = place;
    if (containerId === undefined) {
      throw new IdentityError('ERR_ATTESTATION', `it is in pod ${podUid}, in no container of it`);
    }
    const evidence = (found: Seen) => {
      let follower: Follower | undefined;
      return {
        selectors: selectorsOf(found),
        agrees() {
          // A further stream does not wait for the turn of its process.
          follower?.catchUp();
          return peer.cgroup() === cgroup;
        },
        follow(tell: (now: readonly Selector[] | IdentityError) => void) {
          const look = () => tell(selectorsNow(podUid, containerId));
          follower = followers.add(found.pod.uid, look);
          // What has happened since it was found, while others were asked.
          if (!isStill(found, () => index.find(podUid, containerId))) look();
          return follower.stop;
        },
      };
    };
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
      return found ? selectorsOf(found) : gone(podUid);
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

function moved(): IdentityError {
  return new IdentityError('ERR_PEER_GONE', 'the process has moved to another cgroup');
}

function gone(podUid: string): IdentityError {
  return new IdentityError('ERR_PEER_GONE', `its container or pod ${podUid} is no more`);
}
