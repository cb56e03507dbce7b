import { readFileSync } from 'node:fs';
import { setMaxListeners } from 'node:events';
import type { Registry } from 'prom-client';
import type { Asked } from './asked-sockets.ts';
import type { Attestor } from './attestation/attestor.ts';
import { parseCgroupLines } from './cgroup/lines.ts';
import { requireHostView } from './cgroup/own-view.ts';
import { podPrefix } from './cgroup/prefix.ts';
import type { KubernetesConfig } from './config-kubernetes.ts';
import type { Clock } from './core/clock.ts';
import { IdentityError } from './core/errors.ts';
import type { Logger } from './core/log.ts';
import type { Random } from './core/random.ts';
import { createFollowedNamespaces, type FollowedNamespaces } from './followed-namespaces.ts';
import { fromFiles, type AccessFiles } from './kubernetes/access.ts';
import { createApi } from './kubernetes/api.ts';
import { createKubernetesAttestor } from './kubernetes/attestor.ts';
import { createPodExplainer, type PodExplainer } from './kubernetes/explain.ts';
import { followKubelet } from './kubernetes/kubelet.ts';
import { registerPodMetrics } from './kubernetes/metrics.ts';
import { createPodIndex, type PodIndex } from './kubernetes/pod-index.ts';
import { createPodMirror, type PodMirror } from './kubernetes/pod-mirror.ts';
import { createPodView } from './kubernetes/pod-view.ts';
import { followApiServer } from './kubernetes/pod-source.ts';
import { createPods } from './kubernetes/pods.ts';

/** What is known of the pods of this node, and who says it of a process. */
export interface NodePods {
  readonly attestor: Attestor;
  readonly explainer: PodExplainer;
  readonly index: Pick<PodIndex, 'byUid' | 'all' | 'onChange'>;
  /** Who tells of the pods, and whether that is heard. */
  asked(): Asked;
  /** Followed for selectors only where these have their labels. */
  readonly namespaces: FollowedNamespaces;
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
  requireHostView();
  const own = parseCgroupLines(readFileSync('/proc/self/cgroup', 'latin1'));
  const { cgroupRoots: kubeletRoots, runtimeUnits } = config;
  const prefix = podPrefix(own, kubeletRoots) ?? config.cgroupPrefix;

  const onListenerError = (err: unknown) => log.error({ err }, 'a listener failed');
  const index = createPodIndex(config.nodeName, onListenerError);
  const source = followSource(config, index, { clock, random, log });
  const namespaces = createFollowedNamespaces(config, { clock, random, log });
  const view = createPodView(index, {
    containers: config.containerSelectors,
    ephemeral: config.ephemeralContainers,
    namespaceLabels: config.namespaceLabels ? namespaces.labelsOf : undefined,
    onListenerError,
  });
  if (config.namespaceLabels) {
    const listener = { changed: view.namespacesChanged, heard: () => undefined };
    namespaces.follow(listener, 'no process in a pod is attested');
  }
  const { heardAgoMs, silentMs, relist, closing } = source;
  const pods = createPods({ index: view, clock, closing, relist });
  registerPodMetrics(registry, {
    pods: () => index.size,
    waiting: () => pods.waiting,
    silentMs,
  });
  const roots = { prefix, kubeletRoots, runtimeUnits };
  const shown = { ephemeral: config.ephemeralContainers, containers: config.containerSelectors };
  const told = { heardAgoMs, node: config.nodeName, seen: view.of };
  return {
    attestor: createKubernetesAttestor({
      ...{ roots, pods, index: view, clock, onListenerError, ...shown },
    }),
    explainer: createPodExplainer({ roots, index, ...told, ...shown }),
    ...{ index, namespaces, asked: source.asked },
    close() {
      source.close();
      namespaces.close();
    },
  };
}

/** Fills the index with what the API server, or the kubelet, tells. */
function followSource(
  config: KubernetesConfig,
  index: PodIndex,
  deps: Omit<NodePodsDeps, 'registry'>,
) {
  const { clock, log } = deps;
  if (config.kubelet && config.kubelet.access !== 'verified') {
    const { address, access } = config.kubelet;
    const fields = { path: `${address.host}:${address.port}`, detail: access };
    log.warn(fields, 'whoever listens at the address of the kubelet is believed to be it');
  }
  const api = createApi(fromFiles(accessFiles(config), clock), clock);
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  const mirror = createPodMirror(index, clock);
  const beganAtMs = clock.monotonic();
  const sourceDeps = { ...deps, api, signal: closing.signal };
  const source = config.kubelet
    ? followKubelet(config.kubelet.pollIntervalMs, mirror, sourceDeps)
    : followApiServer(config.nodeName, mirror, sourceDeps);
  return {
    relist: () => source.relist(),
    heardAgoMs: () => mirror.heardAgoMs(),
    silentMs: () => mirror.heardAgoMs() ?? clock.monotonic() - beganAtMs,
    asked: () => askedOf(config, mirror, clock),
    closing: closing.signal,
    close() {
      closing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      api.close();
    },
  };
}

function askedOf(
  { kubelet, apiServer }: KubernetesConfig,
  mirror: Pick<PodMirror, 'heardAgoMs' | 'failing'>,
  clock: Clock,
): Asked {
  const { host, port } = kubelet?.address ?? apiServer;
  const [heardAgoMs, failing] = [mirror.heardAgoMs(), mirror.failing()];
  return {
    attestor: 'kubernetes',
    who: kubelet ? 'the kubelet' : 'the API server',
    at: `${host.includes(':') ? `[${host}]` : host}:${port}`,
    heardAtMs: heardAgoMs === undefined ? undefined : clock.now() - heardAgoMs,
    failing: failing && { reason: failing.reason, sinceMs: clock.now() - failing.agoMs },
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
