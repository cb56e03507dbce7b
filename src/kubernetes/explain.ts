import { findPod, type PodRoots } from '../cgroup/pod.ts';
import { parseCgroupLines, type CgroupLine } from '../cgroup/lines.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Selector } from '../identity/selector.ts';
import type { PodIndex } from './pod-index.ts';
import type { PodView } from './pod-view.ts';
import type { Container, Pod } from './pod.ts';
import { createSelectorsOf, type Shown } from './selectors.ts';

/** A step on the way from a process to its selectors, in words. */
interface Step {
  readonly name: 'cgroup' | 'container' | 'pod' | 'namespace' | 'known';
  readonly text: string;
}

/** A container as the cluster tells of it, and what a process in it is attested as. */
export interface ContainerAccount {
  readonly name: string;
  readonly kind: Container['kind'];
  /** As the runtime knows it; empty while it has none. */
  readonly id: string;
  readonly image: string;
  readonly selectors: readonly Selector[];
  /** Why its processes are not attested. */
  readonly refusal: string | undefined;
}

/** A pod of this node. */
export interface PodAccount {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly serviceAccount: string;
  readonly containers: readonly ContainerAccount[];
}

export interface PodExplainerDeps extends Shown {
  readonly roots: PodRoots;
  readonly index: Pick<PodIndex, 'find' | 'byUid' | 'named' | 'size'>;
  readonly seen: PodView['of'];
  readonly node: string;
  /** Milliseconds since anything was heard of the pods; undefined before the first time. */
  readonly heardAgoMs: () => number | undefined;
}

/** Tells an operator how a process becomes a pod's, and what is known of a pod. */
export interface PodExplainer {
  /** As far as it gets; never throws. */
  steps(peer: { cgroup(): string }): readonly Step[];
  /** Of this name: several while one is ending and the next is there. */
  pods(namespace: string, name: string): readonly PodAccount[];
  /** How old what is known is, in words. */
  known(): string;
}

const SECOND_MS = 1000;

export function createPodExplainer(deps: PodExplainerDeps): PodExplainer {
  const { roots, index, node } = deps;

  function known(): string {
    const agoMs = deps.heardAgoMs();
    if (agoMs === undefined) return `nothing was heard of the pods of ${node} yet`;
    const seconds = Math.round(agoMs / SECOND_MS);
    const pods = index.size === 1 ? '1 pod' : `${index.size} pods`;
    return `${pods} of ${node}, last heard of ${seconds} s ago`;
  }

  function* walk(peer: { cgroup(): string }): Generator<Step> {
    const lines = parseCgroupLines(peer.cgroup());
    yield { name: 'cgroup', text: pathsOf(lines) };
    const place = findPod(lines, roots);
    if (!place) {
      yield { name: 'pod', text: 'none: the cgroup is below no pod' };
      return;
    }
    const { podUid, containerId } = place;
    const found = containerId === undefined ? undefined : index.find(podUid, containerId);
    yield { name: 'container', text: containerText(containerId, found?.container) };
    const pod = found?.pod ?? index.byUid(podUid);
    yield { name: 'pod', text: pod ? podText(pod) : `uid ${podUid}, which is not known here` };
    if (pod && !deps.seen(pod, undefined)) {
      yield { name: 'namespace', text: unlabelled(pod.namespace) };
    }
    yield { name: 'known', text: known() };
  }

  return {
    known,
    steps(peer) {
      const steps: Step[] = [];
      try {
        for (const step of walk(peer)) steps.push(step);
      } catch (thrown) {
        const name = steps.length === 0 ? 'cgroup' : 'pod';
        steps.push({ name, text: toIdentityError(thrown, 'ERR_ATTESTATION').message });
      }
      return steps;
    },
    pods(namespace, name) {
      const read = { seen: deps.seen, selectorsOf: createSelectorsOf(deps) };
      return index.named(namespace, name).map((pod) => ({
        ...{ namespace, name, uid: pod.uid, serviceAccount: pod.serviceAccount },
        containers: pod.containers.map((container) => accountOf(pod, container, read)),
      }));
    },
  };
}

function accountOf(
  pod: Pod,
  container: Container,
  read: {
    readonly seen: PodView['of'];
    readonly selectorsOf: ReturnType<typeof createSelectorsOf>;
  },
): ContainerAccount {
  const { name, kind, id, image } = container;
  try {
    const seen = read.seen(pod, container);
    if (!seen) throw new IdentityError('ERR_ATTESTATION', unlabelled(pod.namespace));
    const selectors = read.selectorsOf(seen);
    return { name, kind, id, image, selectors, refusal: undefined };
  } catch (thrown) {
    const { message } = toIdentityError(thrown, 'ERR_ATTESTATION');
    return { name, kind, id, image, selectors: [], refusal: message };
  }
}

const unlabelled = (namespace: string) =>
  `the labels of the namespace ${namespace} are not known yet`;

/** Each path once: under v1 all hierarchies mostly have the same. */
function pathsOf(lines: readonly CgroupLine[]): string {
  return [...new Set(lines.map(({ segments }) => `/${segments.join('/')}`))].join(', ');
}

function containerText(id: string | undefined, container: Container | undefined): string {
  if (id === undefined) return 'none: the process is in the pod, in no container of it';
  if (!container) return `${id}, which no known pod has told of`;
  const kind = container.kind === 'container' ? '' : `${container.kind} container `;
  return `${kind}${container.name}, image ${container.image}, id ${id}`;
}

function podText({ namespace, name, uid, serviceAccount, resourceVersion }: Pod): string {
  const account =
    serviceAccount === '' ? 'no service account' : `service account ${serviceAccount}`;
  const version = resourceVersion === '' ? '' : `, as of resource version ${resourceVersion}`;
  return `${namespace}/${name}, uid ${uid}, ${account}${version}`;
}
