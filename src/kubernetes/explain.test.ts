import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pod, type PodParts } from '../../test/support/pods.ts';
import { createPodExplainer } from './explain.ts';
import { createPodIndex } from './pod-index.ts';
import { readPod } from './pod.ts';

const UID = '2c48913c-b29f-41e7-9350-020968147796';
const ID = 'ab'.repeat(32);
const ROOTS = { prefix: [], kubeletRoots: [], runtimeUnits: [] };

function explainer(parts: PodParts, heard: { readonly agoMs?: number } = { agoMs: 12_000 }) {
  const index = createPodIndex('node-1', () => undefined);
  const known = readPod(pod({ uid: UID, ...parts }));
  assert.ok(known);
  // Ids as a runtime makes them.
  const containers = known.containers.map((one, n) => (n === 0 ? { ...one, id: ID } : one));
  index.put({ ...known, containers });
  return createPodExplainer({
    ...{ roots: ROOTS, index, node: 'node-1', ephemeral: false },
    seen: (pod, container) => ({ pod, container }),
    heardAgoMs: () => heard.agoMs,
  });
}

const at = (path: string) => ({ cgroup: () => `0::${path}\n` });
const IN_POD = at(`/kubepods/burstable/pod${UID}/${ID}`);

describe('the way of a process to its pod', () => {
  it('goes by its cgroup, container and pod, and says how old that is', () => {
    assert.deepEqual(
      explainer({})
        .steps(IN_POD)
        .map(({ name, text }) => `${name}: ${text}`),
      [
        `cgroup: /kubepods/burstable/pod${UID}/${ID}`,
        `container: web, image registry.example/web:1, id ${ID}`,
        `pod: shop/web-1, uid ${UID}, service account web, as of resource version 1`,
        'known: 1 pod of node-1, last heard of 12 s ago',
      ],
    );
  });

  it('ends where a process is in no pod', () => {
    assert.deepEqual(explainer({}).steps(at('/system.slice/ssh.service')), [
      { name: 'cgroup', text: '/system.slice/ssh.service' },
      { name: 'pod', text: 'none: the cgroup is below no pod' },
    ]);
  });

  it('says what is not known of a pod and a container', () => {
    const other = UID.replaceAll('2', '3');
    const steps = explainer({}).steps(at(`/kubepods/pod${other}/${'cd'.repeat(32)}`));
    assert.deepEqual(
      steps.slice(1, 3).map(({ text }) => text),
      [
        `${'cd'.repeat(32)}, which no known pod has told of`,
        `uid ${other}, which is not known here`,
      ],
    );
    const outside = explainer({}).steps(at(`/kubepods/pod${UID}`));
    assert.match(outside[1]?.text ?? '', /in the pod, in no container of it/);
    assert.match(outside[2]?.text ?? '', /^shop\/web-1/);
  });

  it('ends with the reason where the cgroup says nothing that can be believed', () => {
    const steps = explainer({}).steps(at('/kubepods/odd'));
    assert.match(steps.at(-1)?.text ?? '', /in none that credence can name/);
    const gone = explainer({}).steps({
      cgroup() {
        throw new Error('no such process');
      },
    });
    assert.deepEqual(gone, [{ name: 'cgroup', text: 'no such process' }]);
  });
});

describe('what is known of a pod', () => {
  it('is each container with the selectors of its processes', () => {
    const [account, ...others] = explainer({ inits: ['setup'] }).pods('shop', 'web-1');
    assert.ok(account);
    assert.deepEqual(others, []);
    assert.deepEqual(
      account.containers.map(({ name, kind, id }) => [name, kind, id]),
      [
        ['web', 'container', ID],
        ['setup', 'init', 'id-setup'],
      ],
    );
    const held = account.containers.map(({ selectors }) => selectors.join(' '));
    assert.match(held[0] ?? '', /k8s:container-name:web/);
    assert.match(held[1] ?? '', /k8s:sa:web/);
  });

  it('says of a container that was added why it gets nothing', () => {
    const [account] = explainer({ ephemeral: ['debugger'] }).pods('shop', 'web-1');
    assert.ok(account);
    const added = account.containers.find(({ kind }) => kind === 'ephemeral');
    assert.deepEqual(added?.selectors, []);
    assert.match(added.refusal ?? '', /was added to pod shop\/web-1 while it ran/);
  });

  it('says of a pod with too many labels why it gets nothing', () => {
    const labels = Object.fromEntries(Array.from({ length: 600 }, (_, n) => [`l${n}`, 'x']));
    const [account] = explainer({ labels }).pods('shop', 'web-1');
    assert.deepEqual(account?.containers[0]?.selectors, []);
    assert.match(account.containers[0].refusal ?? '', /has 602 selectors of labels.*at most 512/);
  });

  it('is nothing of another namespace, and says when nothing was heard at all', () => {
    const none = explainer({}, {});
    assert.deepEqual(none.pods('other', 'web-1'), []);
    assert.equal(none.known(), 'nothing was heard of the pods of node-1 yet');
  });
});
