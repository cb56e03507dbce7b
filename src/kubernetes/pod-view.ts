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
  /** Undefined: namespaces have no selectors. Of one that nobody has told of there are none yet. */
  readonly namespaceLabels: ((name: string) => Labels | undefined) | undefined;
  readonly onListenerError: (thrown: unknown) => void;
}

/** The pods of this node as selectors see them. */
export interface PodView {
  /** Undefined until all is known that its selectors are made of. Throws as the index does. */
  find(podUid: string, containerId: string): Seen | undefined;
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
  { containers, namespaceLabels, onListenerError }: PodViewOptions,
): PodView {
  const changes = createListeners<string>(onListenerError);
  index.onChange((uid) => changes.emit(uid));

  function of(pod: Pod, container: Container | undefined): Seen | undefined {
    if (!namespaceLabels) return { pod, container };
    const labels = namespaceLabels(pod.namespace);
    return labels && { pod, container, namespaceLabels: labels };
  }

  return {
    of,
    byUid: (uid) => index.byUid(uid),
    find(podUid, containerId) {
      const found = index.find(podUid, containerId);
      if (found) return of(found.pod, found.container);
      // By uid alone: the hash of a static pod is an annotation, which anybody may write.
      const pod = containers ? undefined : index.byUid(podUid);
      return pod && of(pod, undefined);
    },
    onChange: (listener) => changes.add(listener),
    namespacesChanged(names) {
      if (!namespaceLabels) return;
      const of = [...index.all()].filter(({ namespace }) => names.has(namespace));
      for (const { uid } of of) changes.emit(uid);
    },
  };
}
