// Issuing CAs asked for at a real API server, signed by hand and by cert-manager's own controllers.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it, type TestContext } from 'node:test';
import { readOneCertificate } from '../../src/issuer/upstream-certificates.ts';
import { createCertManager } from '../../src/kube-ca/cert-manager.ts';
import { createKubernetesCsr, type KubernetesCsrTerms } from '../../src/kube-ca/kubernetes-csr.ts';
import type { UpstreamAuthority } from '../../src/issuer/upstream-authority.ts';
import type { Child } from '../support/child.ts';
import { eventually } from '../support/eventually.ts';
import { newKey, orderFor } from '../support/kube-ca.ts';
import {
  documentedRights,
  installCertManager,
  nextRequest,
  pendingRequests,
  realDeps,
  signThrough,
  startCertManager,
  termsOf,
} from '../support/kube-ca-cluster.ts';
import { startCluster, type Cluster } from '../support/real-cluster.ts';
import { foreignCas } from '../support/upstream.ts';

const BUNDLE = 'credence.io:node-ca:example';
const foreign = foreignCas();
const { signal } = new AbortController();
const der = (pem: string) => new X509Certificate(pem).raw;

describe('CAs that are asked for through a cluster', { timeout: 300_000 }, () => {
  let cluster: Cluster;
  const root = foreign.make({ name: 'root' });

  before(async () => {
    cluster = await startCluster(
      '--feature-gates=ClusterTrustBundle=true',
      '--runtime-config=certificates.k8s.io/v1beta1/clustertrustbundles=true',
    );
    cluster.kubectl(['create', 'namespace', 'credence']);
    for (const name of ['credence', 'stranger']) {
      cluster.kubectl(['-n', 'credence', 'create', 'serviceaccount', name]);
    }
  });
  after(() => cluster[Symbol.asyncDispose]());

  function keep(t: TestContext, authority: UpstreamAuthority): UpstreamAuthority {
    t.after(() => authority.close());
    return authority;
  }

  describe('by CertificateSigningRequests', () => {
    before(() => {
      cluster.kubectl(['apply', '-f', '-'], documentedRights('kubernetes_csr'));
      cluster.kubectl(['apply', '-f', '-'], configMap(root.cert));
    });

    const open = (t: TestContext, terms: Partial<KubernetesCsrTerms> = {}, as = 'credence') =>
      keep(
        t,
        createKubernetesCsr(
          {
            ...{ ...termsOf(cluster, as), signerName: 'credence.io/node-ca' },
            roots: { kind: 'config_map', namespace: 'credence', name: 'credence-roots' },
            ...terms,
          },
          realDeps(),
        ),
      );

    it('gets one that was approved and signed', async (t) => {
      const key = await newKey();
      const issuing = open(t).issue(await orderFor(key), { signal });
      const name = await nextRequest(cluster);
      cluster.kubectl(['certificate', 'approve', name]);
      await signThrough(cluster, name, root);
      const { chain, roots } = await issuing;
      assert.deepEqual(readOneCertificate(chain[0] ?? assert.fail()).spki, key.spki);
      assert.deepEqual(roots, [der(root.cert)]);
    });

    it('says that it was denied, and asks anew', async (t) => {
      const authority = open(t);
      const order = await orderFor(await newKey());
      const denied = assert.rejects(authority.issue(order, { signal }), {
        code: 'ERR_ISSUER',
        message: /request credence-node-1-\w+: it was denied \(KubectlDeny\)/,
      });
      cluster.kubectl(['certificate', 'deny', await nextRequest(cluster)]);
      await denied;
      const issuing = authority.issue(order, { signal });
      const name = await nextRequest(cluster);
      assert.match(name, /-2$/);
      cluster.kubectl(['certificate', 'approve', name]);
      await signThrough(cluster, name, root);
      await issuing;
    });

    it('takes up its request when the signer comes back', async (t) => {
      const order = await orderFor(await newKey());
      await assert.rejects(open(t, { timeoutMs: 2000 }).issue(order, { signal }), {
        message: /no CA within 2 s: request \S+: nobody has approved it$/,
      });
      const name = await nextRequest(cluster);
      cluster.kubectl(['certificate', 'approve', name]);
      await signThrough(cluster, name, root);
      // As after a restart: nothing is remembered but the key.
      await open(t).issue(order, { signal });
      assert.deepEqual(pendingRequests(cluster), []);
    });

    it('says which right a service account lacks', async (t) => {
      const authority = open(t, {}, 'stranger');
      await assert.rejects(authority.issue(await orderFor(await newKey()), { signal }), {
        message: /answered 403: .*"system:serviceaccount:credence:stranger".*verbs: \[create\]/,
      });
    });

    it('follows the roots in a ClusterTrustBundle', async (t) => {
      cluster.kubectl(['apply', '-f', '-'], bundle(root.cert));
      cluster.kubectl(['apply', '-f', '-'], BUNDLE_RIGHTS);
      const { roots } = open(t, { roots: { kind: 'cluster_trust_bundle', name: BUNDLE } });
      await eventually(() => roots?.current()?.length === 1, { what: 'the root' });
      const next = foreign.make({ name: 'next' });
      cluster.kubectl(['apply', '-f', '-'], bundle(root.cert + next.cert));
      await eventually(() => roots?.current()?.length === 2, { what: 'both roots' });
    });
  });

  describe('by CertificateRequests of cert-manager', () => {
    let controllers: Child;

    before(async () => {
      cluster.kubectl(['apply', '-f', '-'], documentedRights('cert_manager'));
      installCertManager(cluster);
      controllers = await startCertManager(cluster);
      cluster.kubectl(['apply', '-f', '-'], ISSUERS);
      const ready = ['--for=condition=Ready', 'certificate/root', 'issuer/ca', '--timeout=60s'];
      cluster.kubectl(['-n', 'credence', 'wait', ...ready]);
    });
    after(() => controllers.stop());

    const open = (t: TestContext, timeoutMs = 30_000) =>
      keep(
        t,
        createCertManager(
          {
            ...{ ...termsOf(cluster, 'credence'), timeoutMs, namespace: 'credence' },
            issuer: { name: 'ca', kind: 'Issuer', group: 'cert-manager.io' },
            roots: undefined,
          },
          realDeps(),
        ),
      );
    const requests = () => {
      const args = ['-n', 'credence', 'get', 'certificaterequests', '-o', 'name'];
      return cluster
        .kubectl(args)
        .split('\n')
        .filter((name) => name.includes('/credence-'));
    };

    it('gets one after the other, each with the root', async (t) => {
      const authority = open(t);
      const names: (readonly string[])[] = [];
      for (const key of [await newKey(), await newKey()]) {
        const { chain, roots } = await authority.issue(await orderFor(key), { signal });
        const [ca] = chain.map(readOneCertificate);
        const [top] = roots.map(readOneCertificate);
        assert.ok(ca && top && ca.x509.verify(top.publicKey));
        assert.deepEqual(ca.spki, key.spki);
        const { isCa, uris, keyUsage } = ca.facts;
        assert.deepEqual(
          { isCa, uris, keyUsage },
          { isCa: true, uris: ['spiffe://example.org'], keyUsage: 6 },
        );
        names.push(requests());
      }
      const [first, second] = names;
      assert.equal(first?.length, 1);
      assert.equal(second?.length, 1);
      assert.notDeepEqual(first, second);
    });

    it('says that the issuer is gone, and goes on once it is back', async (t) => {
      const order = await orderFor(await newKey());
      cluster.kubectl(['-n', 'credence', 'delete', 'issuer', 'ca']);
      await assert.rejects(open(t, 5000).issue(order, { signal }), {
        message: /no CA within 5 s: request \S+: cert-manager says \(Pending\): .*not found/,
      });
      cluster.kubectl(['apply', '-f', '-'], ISSUERS);
      await open(t, 60_000).issue(order, { signal });
    });

    it('says that it was denied', async (t) => {
      await controllers.stop();
      controllers = await startCertManager(cluster, 'certificaterequests-approver');
      const before = new Set(requests());
      const denied = assert.rejects(open(t).issue(await orderFor(await newKey()), { signal }), {
        message: /request credence-node-1-\w+: it (?:was denied|failed) \(\w+\): not you/,
      });
      const name = await eventually(() => requests().find((one) => !before.has(one)), {
        what: 'the request',
      });
      const condition = { type: 'Denied', status: 'True', reason: 'Policy', message: 'not you' };
      const patch = JSON.stringify({ status: { conditions: [condition] } });
      const how = ['--subresource=status', '--type=merge', '-p', patch];
      cluster.kubectl(['-n', 'credence', 'patch', name, ...how]);
      await denied;
    });
  });
});

const configMap = (pem: string) =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'credence-roots', namespace: 'credence' },
    data: { 'ca.crt': pem },
  });

const bundle = (pem: string) =>
  JSON.stringify({
    apiVersion: 'certificates.k8s.io/v1beta1',
    kind: 'ClusterTrustBundle',
    metadata: { name: BUNDLE },
    spec: { signerName: 'credence.io/node-ca', trustBundle: pem },
  });

const BUNDLE_RIGHTS = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: credence-roots }
rules:
  - { apiGroups: [certificates.k8s.io], resources: [clustertrustbundles], verbs: [list, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: credence-roots }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: credence-roots }
subjects: [{ kind: ServiceAccount, name: credence, namespace: credence }]
`;

/** A root that cert-manager makes by itself, and an issuer with its key. */
const ISSUERS = `
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: { name: self-signed }
spec: { selfSigned: {} }
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: { name: root, namespace: credence }
spec:
  isCA: true
  commonName: root of cert-manager
  secretName: root
  duration: 24h
  privateKey: { algorithm: ECDSA, size: 256 }
  issuerRef: { name: self-signed, kind: ClusterIssuer }
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: { name: ca, namespace: credence }
spec: { ca: { secretName: root } }
`;
