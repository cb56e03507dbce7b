import type { Clock } from '../core/clock.ts';
import { createListeners } from '../core/listeners.ts';
import type { Logger } from '../core/log.ts';
import type { Entitlement } from '../identity/entitlement.ts';
import { podUidOf, selectorOfPod } from '../identity/pod-selector.ts';
import type { Selector } from '../identity/selector.ts';
import type { ClusterSpiffeId } from '../manifests/cluster-spiffe-id.ts';
import type { PodFacts } from '../manifests/template-fields.ts';
import { assessPod, type Assessment, type Surroundings } from './assess.ts';
import { explainPod, grantedTo, type PodExplanation } from './explain-pod.ts';
import { describedPod } from './facts.ts';

/** The pods of this node; the same object for as long as nothing of it has changed. */
export interface Pods {
  byUid(uid: string): PodFacts | undefined;
  all(): Iterable<PodFacts>;
  onChange(listener: (uid: string) => void): () => void;
}

/** Identities by template: what the cluster's manifests come to for the pods of this node. */
export interface ClusterIds {
  /** Those of a process, by its selectors; in the order of the manifests. */
  match(selectors: readonly Selector[]): readonly Entitlement[];
  /** What became of each manifest that is for this process, or nearly. */
  explain(selectors: readonly Selector[]): PodExplanation;
  /** What all of them come to for each pod of this node. */
  assessments(): Iterable<readonly [PodFacts, readonly Assessment[]]>;
  /** Manifests or the node are others, or namespaces: of those pods alone. */
  refresh(namespaces?: ReadonlySet<string>): void;
  /** Called when processes may have other identities: all, or those of the pod with this selector. */
  onChange(listener: (pod?: Selector) => void): () => void;
  close(): void;
}

export interface ClusterIdsDeps {
  /** In the order of precedence; the same list for as long as nothing has changed. */
  readonly manifests: () => readonly ClusterSpiffeId[];
  readonly pods: Pods;
  readonly around: Surroundings;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly log: Logger;
}

/** A node may have a hundred pods of a namespace, and each may take a millisecond to assess. */
const COMPARE_MS = 5;
/** Reasons that were logged and are remembered, so that each is said once. */
const MAX_SAID = 1000;

interface Assessed {
  readonly pod: PodFacts;
  readonly all: readonly Assessment[];
}

/** Assesses a pod when one of its processes asks, and anew when something has changed. */
export function createClusterIds(deps: ClusterIdsDeps): ClusterIds {
  return new PodAssessments(deps);
}

class PodAssessments implements ClusterIds {
  readonly #deps: ClusterIdsDeps;
  readonly #assessed = new Map<string, Assessed>();
  readonly #changes;
  readonly #said = new Set<string>();
  readonly #stop: () => void;
  #manifests: readonly ClusterSpiffeId[] = [];

  constructor(deps: ClusterIdsDeps) {
    this.#deps = deps;
    this.#changes = createListeners<Selector | undefined>((err) =>
      deps.log.error({ err }, 'a listener failed'),
    );
    this.#stop = deps.pods.onChange((uid) => this.#look(uid));
  }

  match(selectors: readonly Selector[]): readonly Entitlement[] {
    const uid = podUidOf(selectors);
    const pod = uid === undefined ? undefined : this.#deps.pods.byUid(uid);
    if (!pod || uid === undefined) return [];
    return grantedTo(this.#of(uid, pod), new Set(selectors));
  }

  explain(selectors: readonly Selector[]): PodExplanation {
    const uid = podUidOf(selectors);
    const known = uid === undefined ? undefined : this.#deps.pods.byUid(uid);
    const pod = known ?? describedPod(selectors);
    if (!pod) return { identities: [], verdicts: [] };
    const { manifests, around } = this.#deps;
    return explainPod(manifests(), pod, selectors, around);
  }

  *assessments(): Iterable<readonly [PodFacts, readonly Assessment[]]> {
    for (const pod of this.#deps.pods.all()) {
      if (pod.uid !== undefined) yield [pod, this.#of(pod.uid, pod)];
    }
  }

  refresh(namespaces?: ReadonlySet<string>): void {
    if (!namespaces) {
      this.#assessed.clear();
      return this.#changes.emit(undefined);
    }
    const old = [...this.#assessed].filter(([, { pod }]) => namespaces.has(pod.namespace));
    // All of them before anybody is told of one.
    for (const [uid] of old) this.#assessed.delete(uid);
    const { clock } = this.#deps;
    const beganAt = clock.monotonic();
    for (const [uid, before] of old) {
      // The others are told of as they are: their processes take turns, and find out then.
      if (clock.monotonic() - beganAt < COMPARE_MS) this.#compare(uid, before);
      else this.#changes.emit(selectorOfPod(uid));
    }
  }

  onChange(listener: (pod?: Selector) => void): () => void {
    return this.#changes.add(listener);
  }

  close(): void {
    this.#stop();
  }

  #of(uid: string, pod: PodFacts): readonly Assessment[] {
    const manifests = this.#deps.manifests();
    if (manifests !== this.#manifests) {
      this.#manifests = manifests;
      this.#assessed.clear();
    }
    const before = this.#assessed.get(uid);
    if (before?.pod === pod) return before.all;
    const all = assessPod(manifests, pod, this.#deps.around);
    this.#assessed.set(uid, { pod, all });
    for (const one of all) if (one.kind === 'unrendered') this.#say(one.id, pod, one.reason);
    return all;
  }

  /** Selectors that change are told of by who attests; annotations are not. */
  #look(uid: string): void {
    const before = this.#assessed.get(uid);
    if (!before) return;
    this.#assessed.delete(uid);
    this.#compare(uid, before);
  }

  #compare(uid: string, before: Assessed): void {
    const pod = this.#deps.pods.byUid(uid);
    if (pod && !this.#comesToTheSame(uid, pod, before)) this.#changes.emit(selectorOfPod(uid));
  }

  /** What cannot be assessed is not the same: whoever asks next for its processes is told why. */
  #comesToTheSame(uid: string, pod: PodFacts, before: Assessed): boolean {
    try {
      return outcome(before.all) === outcome(this.#of(uid, pod));
    } catch {
      return false;
    }
  }

  #say({ source }: ClusterSpiffeId, pod: PodFacts, reason: string): void {
    const key = `${source}\n${pod.uid ?? ''}\n${reason}`;
    if (this.#said.has(key)) return;
    if (this.#said.size >= MAX_SAID) this.#said.clear();
    this.#said.add(key);
    const detail = `${source}: ${reason}`;
    this.#deps.log.warn(
      { path: `${pod.namespace}/${pod.name ?? '?'}`, detail },
      'a pod gets no identity of a ClusterSPIFFEID',
    );
  }
}

function outcome(all: readonly Assessment[]): string {
  return JSON.stringify(
    all.map((one) => (one.kind === 'rendered' ? [one.entitlement, one.selectors] : one.kind)),
  );
}
