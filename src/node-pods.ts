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
import { fromFiles, type AccessFiles } from './kubernetes/access.ts';
import { createApi } from './kubernetes/api.ts';
import { createKubernetesAttestor } from './kubernetes/attestor.ts';
import { createPodExplainer, type PodExplainer } from './kubernetes/explain.ts';
import { followKubelet } from './kubernetes/kubelet.ts';
import { registerPodMetrics } from './kubernetes/metrics.ts';
import { createPodIndex, type PodIndex } from './kubernetes/pod-index.ts';
import { createPodMirror } from './kubernetes/pod-mirror.ts';
import { createPodView, type PodView } from './kubernetes/pod-view.ts';
import { followApiServer, type PodSourceDeps } from './kubernetes/pod-source.ts';
import { createPods } from './kubernetes/pods.ts';
import { follow } from './kubernetes/follow.ts';
import { createNamespaces } from './kubernetes/namespaces.ts';

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
  const { cgroupRoots: kubeletRoots, runtimeUnits } = config;
  const prefix = podPrefix(own, kubeletRoots) ?? config.cgroupPrefix;

  const api = createApi(fromFiles(accessFiles(config), clock), clock);
  const index = createPodIndex(config.nodeName, (err) => log.error({ err }, 'a listener failed'));
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  const { signal } = closing;
  if (config.kubelet && config.kubelet.access !== 'verified') {
    const { address, access } = config.kubelet;
    const fields = { path: `${address.host}:${address.port}`, detail: access };
    log.warn(fields, 'whoever listens at the address of the kubelet is believed to be it');
  }
  const mirror = createPodMirror(index, clock);
  const sourceDeps = { api, clock, random, log, signal };
  const source = config.kubelet
    ? followKubelet(config.kubelet.pollIntervalMs, mirror, sourceDeps)
    : followApiServer(config.nodeName, mirror, sourceDeps);
  const labelled = config.namespaceLabels ? followNamespaces(config, sourceDeps) : undefined;
  const view = createPodView(index, {
    containers: config.containerSelectors,
    namespaceLabels: labelled?.labelsOf,
    onListenerError: (err) => log.error({ err }, 'a listener failed'),
  });
  labelled?.tell(view);
  const pods = createPods({
    ...{ index: view, clock, closing: signal },
    relist: () => source.relist(),
  });
  const heardAgoMs = () => mirror.heardAgoMs();
  registerPodMetrics(registry, {
    pods: () => index.size,
    waiting: () => pods.waiting,
    heardAgoMs,
  });
  const roots = { prefix, kubeletRoots, runtimeUnits };
  const shown = { ephemeral: config.ephemeralContainers, containers: config.containerSelectors };
  return {
    attestor: createKubernetesAttestor({ roots, pods, index: view, ...shown }),
    explainer: createPodExplainer({
      ...{ roots, index, heardAgoMs, node: config.nodeName, seen: view.of },
      ...shown,
    }),
    index,
    close() {
      closing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      api.close();
    },
  };
}

/** Whom the pods are asked of, with what credentials. */
function accessFiles({ kubelet, ...config }: KubernetesConfig): AccessFiles {
  const { apiServer, caFile: ca, tokenFile: token, nodeName: serverName } = config;
  if (!kubelet) return { ...apiServer, ca, token };
  const { access, caFile, address } = kubelet;
  return { ...address, ca: caFile, token, serverName, transport: TRANSPORTS[access] };
}

const TRANSPORTS = {
  verified: 'tls',
  insecure_skip_verify: 'unverified-tls',
  insecure_read_only_port: 'plain',
} as const;

/** Labels of all namespaces: a pod is known once those of its own are. */
function followNamespaces(
  { apiServer, caFile: ca, tokenFile: token }: KubernetesConfig,
  deps: Omit<PodSourceDeps, 'api'>,
) {
  const { clock, log, signal } = deps;
  const api = createApi(fromFiles({ ...apiServer, ca, token }, clock), clock);
  signal.addEventListener('abort', () => api.close(), { once: true });
  let view: PodView | undefined;
  const told = { heard: () => undefined };
  const namespaces = createNamespaces(() => view?.namespacesChanged(), told);
  follow(NAMESPACES, namespaces.mirror, { ...deps, api }).catch((thrown: unknown) => {
    if (!signal.aborted) log.error({ err: thrown }, 'the namespaces are not followed any more');
  });
  return {
    labelsOf: namespaces.labelsOf,
    tell: (to: PodView) => void (view = to),
  };
}

const NAMESPACES = {
  path: '/api/v1/namespaces',
  query: '',
  right: 'namespaces: list, watch; until then no process in a pod is attested',
};
