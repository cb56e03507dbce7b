// What attesting one process in a pod that is known takes, from its pid to its selectors: pinning it,
// reading its user and groups, its cgroup, and what is known of the pod. Prints one number a round,
// in µs. To be started in the cgroup of a container: bench/figures/pods.ts does.
//   argv: number of rounds, uid of the pod, id of the container
import { gatherEvidence } from '../src/attestation/attestor.ts';
import { createAccountNames } from '../src/attestation/names.ts';
import { createKernel } from '../src/attestation/native.ts';
import { identifyPid } from '../src/attestation/peer.ts';
import { createUnixAttestor } from '../src/attestation/unix.ts';
import { systemClock } from '../src/core/clock.ts';
import { createKubernetesAttestor } from '../src/kubernetes/attestor.ts';
import { createPodIndex } from '../src/kubernetes/pod-index.ts';
import { readPod } from '../src/kubernetes/pod.ts';
import { createPods } from '../src/kubernetes/pods.ts';
import { pod } from '../test/support/pods.ts';

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
const attestors = [
  createUnixAttestor({ names: createAccountNames(), executable: undefined }),
  createKubernetesAttestor({
    roots: { prefix: [], kubeletRoots: [], runtimeUnits: [] },
    pods: createPods({
      index,
      clock: systemClock,
      closing: signal,
      relist: () => Promise.resolve(),
    }),
    index,
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
  identified.peer.close();
  if (!selectors.some((one) => one === `k8s:pod-uid:${uid}`)) throw new Error('it is in no pod');
  console.log(us.toFixed(1));
}
