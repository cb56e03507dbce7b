import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { pod } from '../../test/support/pods.ts';
import { readPod } from './pod.ts';
import { createSelectorsOf, podSelectors } from './selectors.ts';

describe('podSelectors()', () => {
  it('says what SPIRE says of a pod and the container', () => {
    const read = readPod(
      pod({
        labels: { app: 'web', 'app.kubernetes.io/name': 'a.b/c' },
        ownerReferences: [{ kind: 'ReplicaSet', name: 'web-1', uid: 'owner' }],
        containers: ['proxy', 'web'],
        inits: ['setup'],
      }),
    );
    assert.ok(read);
    assert.deepEqual(
      podSelectors({ pod: read, container: read.containers[0] }).map((one) =>
        one.replace(/^k8s:/, ''),
      ),
      [
        'sa:web',
        'ns:shop',
        'node-name:node-1',
        'pod-uid:uid-1',
        'pod-name:web-1',
        'pod-image-count:2',
        'pod-image:registry.example/proxy:1',
        'pod-image:registry.example/proxy@sha256:proxy',
        'pod-image:registry.example/web:1',
        'pod-image:registry.example/web@sha256:web',
        'pod-init-image-count:1',
        'pod-init-image:registry.example/setup:1',
        'pod-init-image:registry.example/setup@sha256:setup',
        'pod-label:app:web',
        'pod-label:app.kubernetes.io/name:a.b/c',
        'pod-owner:ReplicaSet:web-1',
        'pod-owner-uid:ReplicaSet:owner',
        'container-name:proxy',
        'container-image:registry.example/proxy:1',
        'container-image:registry.example/proxy@sha256:proxy',
      ],
    );
  });

  it('leaves out the container where there is none, and a service account that is empty', () => {
    const read = readPod(pod({ serviceAccountName: undefined }));
    assert.ok(read);
    assert.ok(
      !podSelectors({ pod: read, container: undefined }).some((one) =>
        /^k8s:(sa|container)/.test(one),
      ),
    );
  });
});

describe('createSelectorsOf()', () => {
  const labelled = (count: number) => {
    const labels = Object.fromEntries(Array.from({ length: count }, (_, n) => [`l${n}`, 'x']));
    return readPod(pod({ labels })) ?? assert.fail();
  };

  it('makes them once for all processes of a container, sorted', () => {
    const of = createSelectorsOf({ ephemeral: false });
    const read = labelled(3);
    const [container] = read.containers;
    const first = of({ pod: read, container });
    assert.deepEqual(first, podSelectors({ pod: read, container }).sort());
    assert.equal(of({ pod: read, container }), first);
    const alone = of({ pod: read, container: undefined });
    assert.equal(of({ pod: read, container: undefined }), alone);
    assert.ok(!alone.some((one) => one.startsWith('k8s:container')));
  });

  it('makes them anew when the namespace has other labels', () => {
    const of = createSelectorsOf({ ephemeral: false });
    const seen = { pod: labelled(0), container: undefined };
    const [blue, red] = ['blue', 'red'].map((team) =>
      of({ ...seen, namespaceLabels: new Map([['team', team]]) }),
    );
    assert.ok(blue?.some((one) => one === 'k8s:ns-label:team:blue'));
    assert.ok(red?.some((one) => one === 'k8s:ns-label:team:red'));
    assert.ok(!of(seen).some((one) => one.startsWith('k8s:ns-label')));
  });

  it('refuses a pod that has too many, those of its namespace counted', () => {
    const of = createSelectorsOf({ ephemeral: false });
    const seen = { pod: labelled(510), container: undefined };
    assert.ok(of(seen).length > 510);
    const namespaceLabels = new Map([['team', 'blue']]);
    for (const refused of [
      { ...seen, pod: labelled(511) },
      { ...seen, namespaceLabels },
    ]) {
      assert.throws(() => of(refused), {
        code: 'ERR_ATTESTATION',
        message:
          'pod shop/web-1 has 513 selectors of labels, owners and images, at most 512 are looked at',
      });
    }
  });
});

describe('readPod()', () => {
  it('takes ids without their runtime, and the hash of a static pod from its mirror alone', () => {
    const annotations = { 'kubernetes.io/config.hash': 'h', 'kubernetes.io/config.mirror': 'm' };
    assert.equal(readPod(pod({ annotations }))?.configHash, 'h');
    const { 'kubernetes.io/config.hash': hash } = annotations;
    const claimed = readPod(pod({ annotations: { 'kubernetes.io/config.hash': hash } }));
    assert.equal(claimed?.configHash, undefined);
    assert.equal(claimed?.containers[0]?.id, 'id-web');
  });

  it('keeps no environment', () => {
    const read = readPod({ ...pod({}), spec: { containers: [{ env: [{ value: 'S3CRET' }] }] } });
    assert.doesNotMatch(JSON.stringify(read), /S3CRET/);
  });

  it('takes any document for a pod or for none', () => {
    const value = fc.jsonValue();
    const status = fc.record({ containerStatuses: fc.oneof(fc.array(value), value) });
    const metadata = fc.record({
      uid: fc.constant('u'),
      name: fc.constant('n'),
      namespace: fc.constant('s'),
      labels: value,
      ownerReferences: fc.oneof(fc.array(value), value),
      annotations: value,
    });
    const document = fc.oneof(value, fc.record({ metadata, spec: value, status }));
    fc.assert(
      fc.property(document, (any) => {
        const read = readPod(any);
        if (read)
          for (const one of podSelectors({ pod: read, container: read.containers[0] }))
            assert.match(one, /^k8s:/);
      }),
    );
  });
});
