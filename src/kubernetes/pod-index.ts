import { IdentityError } from '../core/errors.ts';
import { createListeners } from '../core/listeners.ts';
import type { Container, Pod } from './pod.ts';

/** A container in the pod it belongs to. */
export interface Found {
  readonly pod: Pod;
  readonly container: Container;
}

/** The pods of this node as the cluster tells of them. */
export interface PodIndex {
  /** Takes a whole list: who is not in it is gone. */
  replace(pods: readonly Pod[]): void;
  put(pod: Pod): void;
  remove(uid: string): void;
  byUid(uid: string): Pod | undefined;
  /** All of this name: one may be ending while the next is there. */
  named(namespace: string, name: string): readonly Pod[];
  all(): Iterable<Pod>;
  /**
   * Who has this container, when that is the pod that its cgroup names; undefined while neither is
   * known. Throws `ERR_ATTESTATION` when several pods claim it.
   */
  find(podUid: string, containerId: string): Found | undefined;
  /** Called with the uid of each pod that is new, has changed or is gone. Returns a remover. */
  onChange(listener: (uid: string) => void): () => void;
  readonly size: number;
}

/** Indexed by uid, never by name: a pod that is made again under its name is another one. */
export function createPodIndex(node: string, onListenerError: (thrown: unknown) => void): PodIndex {
  return new NodePods(node, onListenerError);
}

class NodePods implements PodIndex {
  readonly #node: string;
  readonly #pods = new Map<string, Pod>();
  readonly #claims = new Map<string, Set<Pod>>();
  readonly #changes;

  constructor(node: string, onListenerError: (thrown: unknown) => void) {
    this.#node = node;
    this.#changes = createListeners<string>(onListenerError);
  }

  get size(): number {
    return this.#pods.size;
  }

  replace(pods: readonly Pod[]): void {
    const listed = new Set(pods.map(({ uid }) => uid));
    const gone = [...this.#pods.keys()].filter((uid) => !listed.has(uid));
    const changed = pods.filter((pod) => this.#take(pod));
    for (const uid of gone) this.#drop(uid);
    // Told once the index is whole: who looks then sees all of the list.
    for (const { uid } of changed) this.#changes.emit(uid);
    for (const uid of gone) this.#changes.emit(uid);
  }

  put(pod: Pod): void {
    if (this.#take(pod)) this.#changes.emit(pod.uid);
  }

  remove(uid: string): void {
    if (this.#drop(uid)) this.#changes.emit(uid);
  }

  byUid(uid: string): Pod | undefined {
    return this.#pods.get(uid);
  }

  named(namespace: string, name: string): readonly Pod[] {
    return [...this.#pods.values()].filter(
      (pod) => pod.namespace === namespace && pod.name === name,
    );
  }

  all(): Iterable<Pod> {
    return this.#pods.values();
  }

  find(podUid: string, containerId: string): Found | undefined {
    const [pod, other] = this.#claims.get(containerId) ?? [];
    if (!pod) return undefined;
    if (other) {
      throw new IdentityError('ERR_ATTESTATION', 'several pods claim the container of the process');
    }
    if (pod.uid !== podUid && pod.configHash !== podUid) return undefined;
    const container = pod.containers.find(({ id }) => id === containerId);
    return container && { pod, container };
  }

  onChange(listener: (uid: string) => void): () => void {
    return this.#changes.add(listener);
  }

  /**
   * A field selector is a wish, not a promise, and a kubelet has none: pods of other nodes and those
   * that have ended are left out here as well.
   */
  #take(pod: Pod): boolean {
    if (pod.nodeName !== this.#node || pod.ended) return this.#drop(pod.uid);
    const known = this.#pods.get(pod.uid);
    if (known === pod) return false;
    // A static pod has none where its kubelet tells of it.
    const version = pod.resourceVersion;
    if (version !== '' && known?.resourceVersion === version) return false;
    this.#drop(pod.uid);
    this.#pods.set(pod.uid, pod);
    for (const { id } of pod.containers) {
      if (id === '') continue;
      const claim = this.#claims.get(id);
      if (claim) claim.add(pod);
      else this.#claims.set(id, new Set([pod]));
    }
    return true;
  }

  #drop(uid: string): boolean {
    const pod = this.#pods.get(uid);
    if (!pod) return false;
    this.#pods.delete(uid);
    for (const { id } of pod.containers) {
      const claim = this.#claims.get(id);
      claim?.delete(pod);
      if (claim?.size === 0) this.#claims.delete(id);
    }
    return true;
  }
}
