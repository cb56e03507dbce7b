import { readFileSync } from 'node:fs';
import { setMaxListeners } from 'node:events';
import type { Registry } from 'prom-client';
import type { Attestor } from './attestation/attestor.ts';
import { parseCgroupLines } from './cgroup/lines.ts';
import { podPrefix } from './cgroup/prefix.ts';
import type { KubernetesConfig } from './config-kubernetes.ts';
import type { Clock } from './core/clock.ts';
import { IdentityError } from './core/errors.ts';
import type { Logger } from './core/log.ts';
import type { Random } from './core/random.ts';
import { fromFiles } from './kubernetes/access.ts';
import { createApi } from './kubernetes/api.ts';
import { createKubernetesAttestor } from './kubernetes/attestor.ts';
import { createPodExplainer, type PodExplainer } from './kubernetes/explain.ts';
import { follow, listInto, type Mirror } from './kubernetes/follow.ts';
import { registerPodMetrics } from './kubernetes/metrics.ts';
import { createPodIndex, type PodIndex } from './kubernetes/pod-index.ts';
import { readPod, type Pod } from './kubernetes/pod.ts';
import { createPods } from './kubernetes/pods.ts';

/** What is known of the pods of this node, and who says it of a process. */
export interface NodePods {
  readonly attestor: Attestor;
  readonly explainer: PodExplainer;
  readonly index: Pick<PodIndex, 'byUid' | 'all' | 'onChange'>;
  close(): void;
}

interface NodePodsDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly registry: Registry;
}

/** Follows the pods of this node. Throws `ERR_CONFIG` or `ERR_ATTESTATION` where that cannot be. */
export function followNodePods(config: KubernetesConfig, deps: NodePodsDeps): NodePods {
  const { clock, random, registry } = deps;
  const log = deps.log.child({ component: 'kubernetes' });
  // Of any process: paths that are relative to a namespace of the daemon's own name no pod.
  parseCgroupLines(readFileSync('/proc/1/cgroup', 'latin1'));
  const own = parseCgroupLines(readFileSync('/proc/self/cgroup', 'latin1'));
  const { cgroupRoots: kubeletRoots, runtimeUnits, caFile: ca, tokenFile: token } = config;
  const prefix = podPrefix(own, kubeletRoots) ?? config.cgroupPrefix;

  const api = createApi(fromFiles({ ...config.apiServer, ca, token }, clock), clock);
  const index = createPodIndex(config.nodeName, (err) => log.error({ err }, 'a listener failed'));
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  const { signal } = closing;
  let heardAtMs: number | undefined;
  const mirror: Mirror = {
    replace: (objects) => index.replace(objects.flatMap(toPod)),
    put: (object) => toPod(object).forEach((pod) => index.put(pod)),
    remove: (object) => toPod(object).forEach(({ uid }) => index.remove(uid)),
    heard: () => void (heardAtMs = clock.now()),
  };
  const what = {
    path: '/api/v1/pods',
    query: `fieldSelector=${encodeURIComponent(`spec.nodeName=${config.nodeName}`)}`,
    right: 'pods: list, watch',
  };
  const followDeps = { api, clock, random, log, signal };
  follow(what, mirror, followDeps).catch((thrown: unknown) => {
    if (!signal.aborted) log.error({ err: thrown }, 'the pods are not followed any more');
  });
  const pods = createPods({
    index,
    clock,
    closing: signal,
    relist: async () => {
      await listInto(mirror, what, '', followDeps);
    },
  });
  const heardAgoMs = () => (heardAtMs === undefined ? undefined : clock.now() - heardAtMs);
  registerPodMetrics(registry, {
    pods: () => index.size,
    waiting: () => pods.waiting,
    heardAgoMs,
  });
  const roots = { prefix, kubeletRoots, runtimeUnits };
  const ephemeral = config.ephemeralContainers;
  return {
    attestor: createKubernetesAttestor({ roots, pods, index, ephemeral }),
    explainer: createPodExplainer({ roots, index, ephemeral, heardAgoMs, node: config.nodeName }),
    index,
    close() {
      closing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      api.close();
    },
  };
}

function toPod(object: unknown): readonly Pod[] {
  const pod = readPod(object);
  return pod ? [pod] : [];
}
