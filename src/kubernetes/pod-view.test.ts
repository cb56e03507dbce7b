import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { pod, type PodParts } from '../../test/support/pods.ts';
import type { Evidence } from '../attestation/attestor.ts';
import type { IdentityError } from '../core/errors.ts';
import type { Selector } from '../identity/selector.ts';
import { createKubernetesAttestor } from './attestor.ts';
import { createNamespaces } from './namespaces.ts';
import { createPodIndex } from './pod-index.ts';
import { createPodView } from './pod-view.ts';
import { readPod } from './pod.ts';
import { createPods } from './pods.ts';

const UID = '2c48913c-b29f-41e7-9350-020968147796';
const ID = 'ab'.repeat(32);
const SANDBOX = 'cd'.repeat(32);
const { signal } = new AbortController();

const namespace = (name: string, labels: Readonly<Record<string, string>>) => ({
  metadata: { name, labels },
});

function open({ containers = true, labels = true, ephemeral = false } = {}) {
  const index = createPodIndex('node-1', assert.ifError);
  const namespaces = createNamespaces((names) => view.namespacesChanged(names), {
    heard: () => undefined,
  });
  const view = createPodView(index, {
    ...{ containers, ephemeral },
    namespaceLabels: labels ? namespaces.labelsOf : undefined,
    onListenerError: assert.ifError,
  });
  const closing = new AbortController();
  const clock = new FakeClock();
  let relists = 0;
  const relist = () => {
    relists++;
    return Promise.resolve();
  };
  const pods = createPods({ index: view, clock, closing: closing.signal, relist });
  const attestor = createKubernetesAttestor({
    roots: { prefix: [], kubeletRoots: [], runtimeUnits: [] },
    ...{ pods, index: view, clock, ephemeral, containers, onListenerError: assert.ifError },
  });
  const put = (parts: PodParts) => index.put(readPod(pod({ uid: UID, ...parts })) ?? assert.fail());
  const attest = async (id = ID): Promise<Evidence> => {
    const cgroup = () => `0::/kubepods/burstable/pod${UID}/${id}\n`;
    return attestor.attest({ cgroup }, { signal });
  };
  return {
    ...{ index, mirror: namespaces.mirror, put, attest, pods, clock, closing },
    relists: () => relists,
  };
}

const only = (selectors: readonly Selector[], kind: string) =>
  selectors.filter((one) => one.startsWith(`k8s:${kind}`));

describe('labels of namespaces', () => {
  it('are selectors of their pods, which wait until these are told of', async () => {
    const { mirror, put, attest, pods } = open();
    put({ ids: { web: ID } });
    const attested = attest();
    await settle();
    assert.equal(pods.waiting, 1);
    mirror.put(namespace('other', { env: 'prod' }));
    await settle();
    assert.equal(pods.waiting, 1);
    mirror.put(namespace('shop', { env: 'prod', 'a.b/c': 'd' }));
    assert.deepEqual(only((await attested).selectors, 'ns-label'), [
      'k8s:ns-label:a.b/c:d',
      'k8s:ns-label:env:prod',
    ]);
  });

  it('reach those who are attested already when they change', async () => {
    const { mirror, put, attest } = open();
    put({ ids: { web: ID } });
    mirror.replace([namespace('shop', { env: 'prod' }), namespace('other', {})]);
    const { selectors, follow } = await attest();
    assert.deepEqual(only(selectors, 'ns-label'), ['k8s:ns-label:env:prod']);
    const told: (readonly Selector[] | IdentityError)[] = [];
    const stop = follow?.((now) => told.push(now));
    mirror.put(namespace('other', { env: 'prod' }));
    await settle();
    assert.equal(told.length, 0);
    mirror.put(namespace('shop', {}));
    await settle();
    assert.deepEqual(only(told[0] as readonly Selector[], 'ns-label'), []);
    stop?.();
  });

  it('are looked at again when they changed before anybody followed', async () => {
    const { mirror, put, attest } = open();
    put({ ids: { web: ID } });
    mirror.put(namespace('shop', { env: 'prod' }));
    const { follow } = await attest();
    mirror.put(namespace('shop', { env: 'test' }));
    const told: (readonly Selector[] | IdentityError)[] = [];
    follow?.((now) => told.push(now))();
    assert.deepEqual(only(told[0] as readonly Selector[], 'ns-label'), ['k8s:ns-label:env:test']);
  });

  it('are named where they are all that is missing, and no list of pods is asked for', async () => {
    const { put, attest, clock, relists } = open();
    put({ ids: { web: ID } });
    const failed = assert.rejects(attest(), {
      code: 'ERR_ATTESTATION',
      message: /not told of the labels of namespace shop/,
    });
    for (let n = 0; n < 30; n++) {
      await settle();
      await clock.advance(1000);
    }
    await failed;
    assert.equal(relists(), 0);
    assert.equal(clock.timers, 0);
  });

  it('do not keep who waits for its pod from a list of these', async () => {
    const { put, attest, pods, clock, relists } = open();
    put({ ids: { web: ID } });
    const waiting = [attest(), attest(SANDBOX)].map((one) => assert.rejects(one));
    await settle();
    assert.equal(pods.waiting, 2);
    await clock.advance(250);
    assert.equal(relists(), 1);
    for (let n = 0; n < 30; n++) {
      await settle();
      await clock.advance(1000);
    }
    await Promise.all(waiting);
  });

  it('are waited for until the daemon ends', async () => {
    const { put, attest, closing } = open();
    put({ ids: { web: ID } });
    const attested = attest();
    await settle();
    closing.abort(new Error('closing'));
    await assert.rejects(attested, /closing/);
  });

  it('are none where nobody asked for them', async () => {
    const { put, attest } = open({ labels: false });
    put({ ids: { web: ID } });
    assert.deepEqual(only((await attest()).selectors, 'ns-label'), []);
  });
});

describe('containers that are not told apart', () => {
  it('have the selectors of their pod, also those that nobody has told of', async () => {
    const { put, attest } = open({ containers: false, labels: false });
    put({ containers: [] });
    for (const id of [ID, SANDBOX]) {
      const { selectors } = await attest(id);
      assert.deepEqual(only(selectors, 'pod-uid'), [`k8s:pod-uid:${UID}`]);
      assert.deepEqual(only(selectors, 'container'), []);
    }
  });

  it('wait for their pod', async () => {
    const { put, attest, pods } = open({ containers: false, labels: false });
    const attested = attest(SANDBOX);
    await settle();
    assert.equal(pods.waiting, 1);
    put({ containers: [] });
    assert.deepEqual(only((await attested).selectors, 'ns:'), ['k8s:ns:shop']);
  });

  it('are still refused when they are known to have been added to the running pod', async () => {
    const { put, attest } = open({ containers: false, labels: false });
    put({ containers: [], ephemeral: ['debug'], ids: { debug: ID } });
    await assert.rejects(attest(), { code: 'ERR_ATTESTATION' });
  });

  it('wait while one was added whose id is not known: each of them may be that', async () => {
    const { put, attest, pods } = open({ containers: false, labels: false });
    put({ containers: [], added: ['debug'] });
    const attested = attest(ID);
    await settle();
    assert.equal(pods.waiting, 1);
    put({ containers: [], ephemeral: ['debug'], ids: { debug: ID }, version: '2' });
    await assert.rejects(attested, { code: 'ERR_ATTESTATION' });
    assert.deepEqual(only((await attest(SANDBOX)).selectors, 'ns:'), ['k8s:ns:shop']);
  });

  it('keep what they have when one is added after them', async () => {
    const { put, attest, index } = open({ containers: false, labels: false });
    put({ containers: [] });
    const { follow } = await attest(SANDBOX);
    const told: (readonly Selector[] | IdentityError)[] = [];
    const stop = follow?.((now) => told.push(now));
    put({ containers: [], added: ['debug'], version: '2' });
    await settle();
    assert.deepEqual(only(told[0] as readonly Selector[], 'ns:'), ['k8s:ns:shop']);
    assert.deepEqual(only((await attest(SANDBOX)).selectors, 'ns:'), ['k8s:ns:shop']);
    stop?.();
    // Of a pod that is gone nothing is remembered.
    index.remove(UID);
    put({ containers: [], added: ['debug'] });
    assert.equal(index.find(UID, SANDBOX), undefined);
  });

  it('do not wait for one that was added where these are admitted', async () => {
    const { put, attest } = open({ containers: false, labels: false, ephemeral: true });
    put({ containers: [], added: ['debug'] });
    assert.deepEqual(only((await attest(ID)).selectors, 'ns:'), ['k8s:ns:shop']);
  });

  it('leave a static pod to be found by its containers, for its hash is an annotation', async () => {
    const { index, pods } = open({ containers: false, labels: false });
    const hash = '2732ca68f6358eba7703fb6f82a25c94';
    const annotations = { 'kubernetes.io/config.hash': hash, 'kubernetes.io/config.mirror': 'm' };
    index.put(readPod(pod({ annotations, ids: { web: ID } })) ?? assert.fail());
    assert.ok(!(pods.locate(hash, ID, { signal }) instanceof Promise));
    const unknown = pods.locate(hash, SANDBOX, { signal: AbortSignal.abort(new Error('later')) });
    await assert.rejects(Promise.resolve(unknown), /later/);
  });
});
