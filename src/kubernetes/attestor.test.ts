import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { pod } from '../../test/support/pods.ts';
import { createKubernetesAttestor } from './attestor.ts';
import { createPodIndex } from './pod-index.ts';
import { readPod } from './pod.ts';
import { createPods } from './pods.ts';

const UID = '00000000-0000-4000-8000-000000000001';
const ID = 'a'.repeat(64);
const WEB = readPod(pod({ uid: UID, ids: { web: ID } })) ?? assert.fail();

/** A process in a container, whose cgroup can be changed and counts how often it is read. */
function inContainer() {
  const { signal } = new AbortController();
  const index = createPodIndex('node-1', assert.ifError);
  const pods = createPods({
    ...{ index, clock: new FakeClock(), closing: signal },
    relist: () => Promise.resolve(),
  });
  const roots = { prefix: [], kubeletRoots: [], runtimeUnits: [] };
  const attestor = createKubernetesAttestor({ roots, pods, index, ephemeral: false });
  const state = { reads: 0, path: `/kubepods/burstable/pod${UID}/${ID}` };
  const peer = {
    cgroup() {
      state.reads++;
      return `0::${state.path}\n`;
    },
  };
  return { index, state, attest: () => attestor.attest(peer, { signal }) };
}

describe('createKubernetesAttestor()', () => {
  it('reads the cgroup once when the pod is known', () => {
    const { index, state, attest } = inContainer();
    index.put(WEB);
    const evidence = attest();
    assert.ok(!(evidence instanceof Promise));
    assert.ok(evidence.selectors.some((one) => one === `k8s:pod-uid:${UID}`));
    assert.equal(state.reads, 1);
    state.path = '/system.slice/ssh.service';
    assert.equal(evidence.agrees(), false);
  });

  it('refuses a process that has moved to another cgroup while its pod was waited for', async () => {
    const { index, state, attest } = inContainer();
    const evidence = Promise.resolve(attest());
    const refused = assert.rejects(evidence, { code: 'ERR_PEER_GONE' });
    await settle();
    state.path = '/system.slice/ssh.service';
    index.put(WEB);
    await refused;
  });
});
