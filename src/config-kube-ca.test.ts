import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { kubeCaNotes } from './cli/kube-ca-notes.ts';
import { parseConfig } from './config.ts';

const POD = { KUBERNETES_SERVICE_HOST: '10.0.0.1', KUBERNETES_SERVICE_PORT: '6443' };
const parse = (upstream: string, more = '', env: Record<string, string> = POD) =>
  parseConfig(
    `trust_domain: example.org\nissuer: { upstream: { ${upstream} }${more} }\n`,
    '/etc/credence/credence.yaml',
    env,
  );
const CSR = 'type: kubernetes_csr, kubernetes_csr: ';
const MANAGER = 'type: cert_manager, cert_manager: ';

describe('issuer.upstream of a cluster', () => {
  it('takes a signer and where its roots are', () => {
    const { remote, upstream } = parse(`${CSR}{ roots: { config_map: credence/roots } }`).issuer;
    assert.equal(upstream, undefined);
    assert.deepEqual(remote, {
      type: 'kubernetes_csr',
      apiServer: { host: '10.0.0.1', port: 6443 },
      caFile: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
      tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
      timeoutMs: 60_000,
      signerName: 'credence.io/node-ca',
      roots: { kind: 'config_map', namespace: 'credence', name: 'roots' },
    });
    const of = (roots: string) => {
      const { remote: other } = parse(`${CSR}{ roots: { ${roots} } }`).issuer;
      return other?.type === 'kubernetes_csr' ? other.roots : undefined;
    };
    assert.deepEqual(of('file: roots.pem'), { kind: 'file', path: '/etc/credence/roots.pem' });
    assert.deepEqual(of('cluster_trust_bundle: "credence.io:node-ca:a"'), {
      kind: 'cluster_trust_bundle',
      name: 'credence.io:node-ca:a',
    });
  });

  it('takes an issuer of cert-manager, with roots or without', () => {
    const { remote } = parse(`${MANAGER}{ issuer_name: ca, issuer_kind: ClusterIssuer }`).issuer;
    assert.ok(remote?.type === 'cert_manager');
    assert.equal(remote.roots, undefined);
    assert.equal(remote.namespace, 'credence');
    assert.deepEqual(remote.issuer, {
      ...{ name: 'ca', kind: 'ClusterIssuer', group: 'cert-manager.io' },
    });
  });

  it('is nothing with another type', () => {
    assert.equal(parse('type: self_signed').issuer.remote, undefined);
  });

  const refused: readonly (readonly [string, string, RegExp])[] = [
    [`${CSR}{}`, '', /kubernetes_csr\.roots: expected one of config_map, cluster_trust_bundle/],
    [
      `${CSR}{ roots: { config_map: a/b, file: c } }`,
      '',
      /kubernetes_csr\.roots: .*, found config_map and file/,
    ],
    [`${CSR}{ roots: { config_map: a } }`, '', /config_map: expected namespace\/name, found "a"/],
    [`${CSR}{ roots: { config_map: a/../b } }`, '', /config_map: expected namespace\/name/],
    [`${CSR}{ roots: { cluster_trust_bundle: A b } }`, '', /cluster_trust_bundle: expected its na/],
    [`${CSR}{ roots: { file: c }, signer_name: x }`, '', /signer_name: expected domain\/name, fo/],
    [
      `${CSR}{ roots: { file: c }, signer_name: kubernetes.io/kube-apiserver-client }`,
      '',
      /signer_name: expected a signer of CAs: those of kubernetes\.io are none/,
    ],
    [`${CSR}{ roots: { file: c } }`, ', ca_ttl: 9m, x509_svid_ttl: 1m', /ca_ttl: expected at leas/],
    [`${MANAGER}{}`, '', /issuer_name: expected the name of an issuer, found ""/],
    [`${MANAGER}{ issuer_name: a/b }`, '', /issuer_name: expected the name of an issuer/],
    [
      `${MANAGER}{ issuer_name: a, issuer_kind: ca }`,
      '',
      /issuer_kind: expected Issuer or Cluster/,
    ],
    [`${MANAGER}{ issuer_name: a, namespace: A/b }`, '', /namespace: expected a namespace/],
    [
      'type: self_signed, kubernetes_csr: { roots: { file: a } }',
      '',
      /roots\.file: expected issuer\.upstream\.type to be kubernetes_csr/,
    ],
    [
      `${CSR}{ roots: { file: a } }, cert_manager: { issuer_name: a }`,
      '',
      /issuer_name: expected issuer\.upstream\.type to be cert_manager/,
    ],
  ];
  for (const [upstream, more, expected] of refused) {
    it(`refuses { ${upstream} }${more}`, () => {
      assert.throws(() => parse(upstream, more), { code: 'ERR_CONFIG', message: expected });
    });
  }

  it('wants the API server named outside of a pod', () => {
    assert.throws(() => parse(`${CSR}{ roots: { file: a } }`, '', {}), {
      message: /kubernetes_csr\.api_server: expected host:port: this is no pod/,
    });
  });

  it('has notes about files that are not there', () => {
    const notes = kubeCaNotes(parse(`${CSR}{ roots: { file: nowhere } }`));
    assert.equal(notes.length, 3);
    assert.match(notes[2] ?? '', /roots\.file: cannot use \/etc\/credence\/nowhere now: ENOENT/);
    assert.deepEqual(kubeCaNotes(parse('type: self_signed')), []);
  });
});
