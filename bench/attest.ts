// What attesting one process in a pod that is known takes, from its pid to its selectors: pinning it,
// reading its user and groups, its cgroup, and what is known of the pod. Prints two numbers a round,
// in µs: until its selectors are known, and until its identities by a ClusterSPIFFEID are. To be started in the cgroup of a container: bench/figures/pods.ts does.
//   argv: number of rounds, uid of the pod, id of the container
import { gatherEvidence } from '../src/attestation/attestor.ts';
import { createAccountNames } from '../src/attestation/names.ts';
import { createKernel } from '../src/attestation/native.ts';
import { identifyPid } from '../src/attestation/peer.ts';
import { createUnixAttestor } from '../src/attestation/unix.ts';
import { createClusterIds } from '../src/cluster-ids/cluster-ids.ts';
import { systemClock } from '../src/core/clock.ts';
import { silentLogger } from '../src/core/log.ts';
import { parseTrustDomain } from '../src/identity/spiffe-id.ts';
import { createKubernetesAttestor } from '../src/kubernetes/attestor.ts';
import { createPodIndex } from '../src/kubernetes/pod-index.ts';
import { createPodView } from '../src/kubernetes/pod-view.ts';
import { readPod } from '../src/kubernetes/pod.ts';
import { createPods } from '../src/kubernetes/pods.ts';
import { readClusterSpiffeId } from '../src/manifests/cluster-spiffe-id.ts';
import { readManifest } from '../src/manifests/manifest.ts';
import { pod } from '../test/support/pods.ts';
import { BY_TEMPLATE } from './template.ts';

const [rounds = '1', uid = '', id = ''] = process.argv.slice(2);
const { signal } = new AbortController();
const failed = (thrown: unknown) => {
  throw thrown;
};
const index = createPodIndex('node-1', failed);
for (let n = 0; n < 110; n++) {
  const own = n === 0;
  const containers = ['a', 'b', 'c'];
  const ids = Object.fromEntries(containers.map((c) => [c, own && c === 'a' ? id : `${c}${n}`]));
  const labels = { app: 'web', 'app.kubernetes.io/name': 'web', 'pod-template-hash': '5d9c6b7f8' };
  const read = readPod(pod({ uid: own ? uid : `uid-${n}`, containers, ids, labels }));
  if (read) index.put(read);
}
// As in the daemon by default: containers told apart, no selectors of namespaces.
const view = createPodView(index, {
  ...{ containers: true, ephemeral: false, namespaceLabels: undefined },
  onListenerError: failed,
});
const trustDomain = parseTrustDomain('example.org');
const labels = new Map([['team', 'shop']]);
const manifest = clusterSpiffeId();
const ids = createClusterIds({
  clock: systemClock,
  manifests: () => manifest,
  pods: index,
  around: {
    ...{ trustDomain, clusterName: 'blue', clusterDomain: 'cluster.local' },
    ignoredNamespaces: new Set(),
    complete: () => true,
    namespaceLabels: () => labels,
    node: () => undefined,
  },
  log: silentLogger,
});
const attestors = [
  createUnixAttestor({ names: createAccountNames(), executable: undefined }),
  createKubernetesAttestor({
    roots: { prefix: [], kubeletRoots: [], runtimeUnits: [] },
    pods: createPods({
      index: view,
      clock: systemClock,
      closing: signal,
      relist: () => Promise.resolve(),
    }),
    index: view,
    clock: systemClock,
    onListenerError: failed,
    ephemeral: false,
  }),
];
const kernel = createKernel();
for (let round = 0; round < Number(rounds); round++) {
  const began = performance.now();
  const identified = identifyPid(process.pid, kernel);
  if (identified.kind !== 'peer') throw new Error('this process is not there');
  const { selectors } = await gatherEvidence(attestors, identified.peer, { signal });
  const us = (performance.now() - began) * 1000;
  if (ids.match(selectors).length !== 1) throw new Error('it has no identity');
  const grantedUs = (performance.now() - began) * 1000;
  identified.peer.close();
  if (!selectors.some((one) => one === `k8s:pod-uid:${uid}`)) throw new Error('it is in no pod');
  console.log(us.toFixed(1), grantedUs.toFixed(1));
}

function clusterSpiffeId() {
  const report = (path: readonly unknown[], expected: string): never => {
    throw new Error(`${path.join('.')}: ${expected}`);
  };
  const context = { place: undefined, report };
  const read = readManifest(BY_TEMPLATE, context);
  if (!read) return [];
  const classes = { className: '', classless: true };
  const warn = () => undefined;
  return [readClusterSpiffeId(read, { ...context, trustDomain, classes, warn })];
}
