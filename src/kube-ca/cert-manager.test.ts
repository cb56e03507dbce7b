import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { document } from '../../test/support/api-server.ts';
import {
  holds,
  newKey,
  orderFor,
  REQUESTS,
  signed,
  startKubeWorld,
} from '../../test/support/kube-ca.ts';
import { base64 } from '../../test/support/request-signer.ts';
import { foreignCas } from '../../test/support/upstream.ts';
import { createCertManager, type CertManagerTerms } from './cert-manager.ts';

const foreign = foreignCas();
const { signal } = new AbortController();
const der = (pem: string) => new X509Certificate(pem).raw;

async function open(t: TestContext, terms: Partial<CertManagerTerms> = {}) {
  const world = await startKubeWorld(t, foreign);
  const authority = world.keep(
    createCertManager(
      {
        ...{ ...world.terms, namespace: 'credence', roots: undefined },
        issuer: { name: 'ca', kind: 'Issuer', group: 'cert-manager.io' },
        ...terms,
      },
      world.deps,
    ),
  );
  return { ...world, authority };
}

describe('an authority that is asked by CertificateRequests', { timeout: 60_000 }, () => {
  it('asks for a CA, and takes the root that comes with it', async (t) => {
    const { authority, cluster, root, signs } = await open(t);
    signs();
    const key = await newKey();
    const { chain, roots } = await authority.issue(await orderFor(key), { signal });
    assert.equal(chain.length, 1);
    assert.deepEqual(roots, [der(root.cert)]);
    assert.equal(authority.roots, undefined);
    const [object] = cluster.all(REQUESTS);
    const { isCA, usages, duration, issuerRef } = object?.spec ?? {};
    assert.deepEqual(
      { isCA, usages, duration, issuerRef },
      {
        ...{ isCA: true, usages: ['cert sign', 'crl sign'], duration: '3600s' },
        issuerRef: { name: 'ca', kind: 'Issuer', group: 'cert-manager.io' },
      },
    );
    assert.match(authority.name, /^cert_manager Issuer ca in credence at 127\.0\.0\.1:\d+$/);
  });

  it('puts what is between the CA and its root into the chain', async (t) => {
    const { authority, cluster, root, make } = await open(t);
    const between = make({ name: 'between', issuer: root });
    cluster.onCreated = (path, object) =>
      void signed(path, object, between).then((status) =>
        cluster.setStatus(path, object.metadata.name, {
          ...status,
          ca: base64(between.cert + root.cert),
        }),
      );
    const { chain, roots } = await authority.issue(await orderFor(await newKey()), { signal });
    assert.deepEqual(chain.slice(1), [der(between.cert)]);
    assert.deepEqual(roots, [der(root.cert)]);
  });

  it('says where the root can be told when none comes with the certificate', async (t) => {
    const { authority, cluster, root } = await open(t);
    cluster.onCreated = (path, object) =>
      void signed(path, object, root).then((status) =>
        cluster.setStatus(path, object.metadata.name, { ...status, ca: undefined }),
      );
    await assert.rejects(authority.issue(await orderFor(await newKey()), { signal }), {
      code: 'ERR_ISSUER',
      message: /no root came with .* issuer\.upstream\.cert_manager\.roots says where it is$/,
    });
  });

  it('believes the roots that are told, not what comes with a certificate', async (t) => {
    const roots = { kind: 'config_map', namespace: 'credence', name: 'roots' } as const;
    const { authority, make, root, signs } = await open(t, { roots, timeoutMs: 20_000 });
    signs({ ca: make({ name: 'stranger' }) });
    await assert.rejects(authority.issue(await orderFor(await newKey()), { signal }), {
      message: /issued by CN=stranger, which is none of the 1 roots in ConfigMap credence\/roots$/,
    });
    signs();
    const issued = await authority.issue(await orderFor(await newKey()), { signal });
    assert.deepEqual(issued.roots, [der(root.cert)]);
  });

  it('takes away its requests of before, and nobody else’s', async (t) => {
    const { authority, cluster, signs, log } = await open(t);
    signs();
    await authority.issue(await orderFor(await newKey()), { signal });
    const [first] = cluster.all(REQUESTS);
    assert.ok(first);
    cluster.put(REQUESTS, 'of-somebody', first);
    cluster.put(REQUESTS, 'credence-other-node', { ...first, metadata: { labels: {} } });
    await authority.issue(await orderFor(await newKey()), { signal });
    const left = cluster.all(REQUESTS).map(({ metadata }) => metadata.name);
    assert.ok(!left.includes(first.metadata.name));
    assert.equal(left.length, 3);
    assert.equal(log.count('info', 'left in the cluster'), 0);
  });

  it('leaves no more than the last of those that were denied', async (t) => {
    const { authority, cluster } = await open(t);
    cluster.onCreated = (path, { metadata }) =>
      cluster.setStatus(path, metadata.name, { conditions: [holds('Denied')] });
    for (let n = 0; n < 3; n++) {
      await assert.rejects(authority.issue(await orderFor(await newKey()), { signal }));
    }
    assert.equal(cluster.all(REQUESTS).length, 1);
  });

  it('does without the right to take them away', async (t) => {
    const { authority, cluster, server, signs, log } = await open(t);
    signs();
    server.behave((request, response) => {
      const isList = request.method === 'GET' && request.url?.includes('labelSelector') === true;
      (isList ? document({ message: 'no' }, 403) : cluster.behaviour)(request, response);
    });
    await authority.issue(await orderFor(await newKey()), { signal });
    assert.equal(log.count('info', 'left in the cluster'), 1);
  });

  const refusals: readonly (readonly [string, object, RegExp])[] = [
    ['denied', holds('Denied', 'Policy', 'not you'), /: it was denied \(Policy\): not you$/],
    ['invalid', holds('InvalidRequest', 'X', 'no CA'), /: it was found invalid \(X\): no CA$/],
    ['failed', holds('Ready', 'Failed', 'broke', 'False'), /: it failed \(Failed\): broke$/],
    [
      'of an issuer that is not there',
      holds('Ready', 'Pending', 'Referenced "Issuer" not found', 'False'),
      /: no CA within 20 s: request \S+: cert-manager says \(Pending\): Referenced "Issuer" not found$/,
    ],
  ];
  for (const [what, condition, message] of refusals) {
    it(`says that a request is ${what}`, async (t) => {
      const { authority, cluster } = await open(t, { timeoutMs: 20_000 });
      cluster.onCreated = (path, { metadata }) =>
        cluster.setStatus(path, metadata.name, { conditions: [condition] });
      await assert.rejects(authority.issue(await orderFor(await newKey()), { signal }), {
        ...{ code: 'ERR_ISSUER', message },
      });
    });
  }
});
