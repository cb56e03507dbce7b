import { createListeners } from '../core/listeners.ts';
import type { Container, Pod } from './pod.ts';
import type { PodIndex } from './pod-index.ts';

type Labels = ReadonlyMap<string, string>;

/** All that selectors are made of. */
export interface Seen {
  readonly pod: Pod;
  /** Undefined for one that nobody has told of, where containers are not told apart. */
  readonly container: Container | undefined;
  /** Of its namespace, where there are selectors of these. */
  readonly namespaceLabels?: Labels | undefined;
}

/** What selectors there are of pods. */
export interface PodViewOptions {
  /** Whether the containers of a pod are told apart. */
  readonly containers: boolean;
  /** Whether those that somebody added to a running pod have its identity. */
  readonly ephemeral: boolean;
  /** Undefined: namespaces have no selectors. Of one that nobody has told of there are none yet. */
  readonly namespaceLabels: ((name: string) => Labels | undefined) | undefined;
  readonly onListenerError: (thrown: unknown) => void;
}

/** The pods of this node as selectors see them. */
export interface PodView {
  /** Undefined until all is known that its selectors are made of. Throws as the index does. */
  find(podUid: string, containerId: string): Seen | undefined;
  /** The namespace of a container that is known, where it is found once that one's labels are. */
  unlabelled(podUid: string, containerId: string): string | undefined;
  byUid(uid: string): Pod | undefined;
  /** Of a pod that is known; undefined while its namespace is not. */
  readonly of: (pod: Pod, container: Container | undefined) => Seen | undefined;
  /** Called with the uid of each pod whose selectors may be others. Returns a remover. */
  onChange(listener: (uid: string) => void): () => void;
  /** These have other labels. */
  readonly namespacesChanged: (names: ReadonlySet<string>) => void;
}

export function createPodView(
  index: Pick<PodIndex, 'find' | 'byUid' | 'all' | 'onChange'>,
  { containers, ephemeral, namespaceLabels, onListenerError }: PodViewOptions,
): PodView {
  const changes = createListeners<string>(onListenerError);
  const untold = createUntold();
  index.onChange((uid) => {
    if (!index.byUid(uid)) untold.forget(uid);
    changes.emit(uid);
  });

  function of(pod: Pod, container: Container | undefined): Seen | undefined {
    if (!namespaceLabels) return { pod, container };
    const labels = namespaceLabels(pod.namespace);
    return labels && { pod, container, namespaceLabels: labels };
  }

  /** By uid alone where nobody told of it: a static pod's hash is an annotation, for anybody to write. */
  function placeOf(podUid: string, containerId: string): Seen | undefined {
    const found = index.find(podUid, containerId);
    if (found || containers) return found;
    const pod = index.byUid(podUid);
    if (!pod || (!ephemeral && untold.mayBeAdded(pod, containerId))) return undefined;
    return { pod, container: undefined };
  }

  return {
    of,
    byUid: (uid) => index.byUid(uid),
    find(podUid, containerId) {
      const place = placeOf(podUid, containerId);
      return place && of(place.pod, place.container);
    },
    unlabelled(podUid, containerId) {
      const place = placeOf(podUid, containerId);
      return place && !of(place.pod, place.container) ? place.pod.namespace : undefined;
    },
    onChange: (listener) => changes.add(listener),
    namespacesChanged(names) {
      if (!namespaceLabels) return;
      const of = [...index.all()].filter(({ namespace }) => names.has(namespace));
      for (const { uid } of of) changes.emit(uid);
    },
  };
}

/** A pod has a few containers; of more it is not remembered that they were there. */
const MAX_REMEMBERED = 64;

/** Containers that nobody has told of, by the pods that they are in. */
function createUntold() {
  const before = new Map<string, Set<string>>();
  return {
    /**
     * Whether it may be an ephemeral one: there is one whose id is not known, and this was not there
     * before that was added.
     */
    mayBeAdded(pod: Pod, containerId: string): boolean {
      const there = before.get(pod.uid) ?? new Set();
      if (pod.pendingEphemeral) return !there.has(containerId);
      if (there.size < MAX_REMEMBERED) before.set(pod.uid, there.add(containerId));
      return false;
    },
    forget: (podUid: string) => void before.delete(podUid),
  };
}
