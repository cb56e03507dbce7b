import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { pod, type PodParts } from '../../test/support/pods.ts';
import { IdentityError } from '../core/errors.ts';
import { createKubernetesAttestor } from './attestor.ts';
import { createPodIndex } from './pod-index.ts';
import { readPod } from './pod.ts';
import { createPods } from './pods.ts';

const UID = '00000000-0000-4000-8000-000000000001';
const ID = 'a'.repeat(64);
const web = (parts: PodParts = {}) =>
  readPod(pod({ uid: UID, ids: { web: ID }, ...parts })) ?? assert.fail();
const WEB = web();

/** A process in a container, whose cgroup can be changed and counts how often it is read. */
function inContainer() {
  const { signal } = new AbortController();
  const index = createPodIndex('node-1', assert.ifError);
  const pods = createPods({
    ...{ index, clock: new FakeClock(), closing: signal },
    relist: () => Promise.resolve(),
  });
  const roots = { prefix: [], kubeletRoots: [], runtimeUnits: [] };
  const attestor = createKubernetesAttestor({
    ...{ roots, pods, index, clock: new FakeClock(), ephemeral: false },
    onListenerError: assert.ifError,
  });
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

describe('the processes of a pod that has changed', () => {
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  /** Attested ones that follow, each with what it was told. */
  function following(count: number) {
    const { index, attest } = inContainer();
    index.put(WEB);
    const processes = Array.from({ length: count }, () => {
      const evidence = attest();
      assert.ok(!(evidence instanceof Promise) && 'follow' in evidence);
      const told: unknown[] = [];
      return { told, evidence, stop: evidence.follow((now) => told.push(now)) };
    });
    let version = 1;
    const flip = () => index.put(web({ version: `${++version}`, labels: { n: `${version}` } }));
    const heard = () => processes.filter(({ told }) => told.length > 0).length;
    return { index, processes, flip, heard };
  }

  it('are told in turns, of the same selectors', async () => {
    const { processes, flip, heard } = following(100);
    flip();
    assert.equal(heard(), 0);
    for (const expected of [16, 32, 48]) {
      await turn();
      assert.equal(heard(), expected);
    }
    while (heard() < 100) await turn();
    assert.equal(new Set(processes.map(({ told }) => told[0])).size, 1);
  });

  it('are all told also when it changes faster than they have their turns', async () => {
    const { flip, heard } = following(200);
    for (let n = 0; n < 20; n++) {
      flip();
      await turn();
    }
    assert.equal(heard(), 200);
  });

  it('are looked at before their turn for a further stream', async () => {
    const { processes, flip } = following(50);
    const last = processes.at(-1) ?? assert.fail();
    flip();
    assert.equal(last.evidence.agrees(), true);
    assert.equal(last.told.length, 1);
    for (let n = 0; n < 5; n++) await turn();
    assert.equal(last.told.length, 1, 'once for each change');
  });

  it('are not told once they have ended', async () => {
    const { processes, flip, heard } = following(20);
    flip();
    for (const { stop } of processes) stop();
    await settle();
    assert.equal(heard(), 0);
  });

  it('are nothing any more when it has too many labels', async () => {
    const { index, processes } = following(1);
    const labels = Object.fromEntries(Array.from({ length: 600 }, (_, n) => [`l${n}`, 'x']));
    index.put(web({ version: '2', labels }));
    await settle();
    const [told] = processes[0]?.told ?? [];
    assert.ok(told instanceof IdentityError);
    assert.match(told.message, /at most 512/);
  });
});
