import { findContainer, type ContainerRoots } from '../cgroup/container.ts';
import { parseCgroupLines } from '../cgroup/lines.ts';
import { IdentityError } from '../core/errors.ts';
import type { Selector } from '../identity/selector.ts';
import type { Containers } from './containers.ts';

/** What is needed of a process. */
interface Peer {
  readonly credentials: { readonly uid: number };
  /** Its `/proc/<pid>/cgroup`; throws as the file system does. */
  cgroup(): string;
}

export interface ContainerAttestorDeps {
  readonly roots: ContainerRoots;
  readonly containers: Pick<Containers, 'selectorsOf'>;
  /** Whether users' own containers are asked about; else they are processes of their user. */
  readonly rootless: boolean;
}

/**
 * SPIRE's `docker` selectors of a process in a container of docker or podman; none of one that is in
 * none. Everything else fails: a process in a container must not pass for one of the host's own.
 */
export function createContainerAttestor({ roots, containers, rootless }: ContainerAttestorDeps) {
  return {
    name: 'docker',
    attest(peer: Peer, { signal }: { signal: AbortSignal }) {
      const cgroup = peer.cgroup();
      const stays = () => peer.cgroup() === cgroup;
      const evidence = (selectors: readonly Selector[]) => {
        // What was true before the engine answered may be so no more.
        if (!stays()) throw moved();
        return { selectors, agrees: stays };
      };
      const place = findContainer(parseCgroupLines(cgroup), roots);
      if (!place || (place.uid !== undefined && !rootless)) return { selectors: [], agrees: stays };
      const told = containers.selectorsOf(place, { signal, uid: peer.credentials.uid });
      return told instanceof Promise ? told.then(evidence) : evidence(told);
    },
  } as const;
}

function moved(): IdentityError {
  return new IdentityError('ERR_PEER_GONE', 'the process has moved to another cgroup');
}
