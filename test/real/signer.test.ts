// The signer in two replicas against a real API server, with the rights of k8s/signer and tokens that are
// bound to pods of three nodes. Needs root and a machine without Kubernetes.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '../../src/config.ts';
import { systemClock } from '../../src/core/clock.ts';
import { silentLogger } from '../../src/core/log.ts';
import { systemRandom } from '../../src/core/random.ts';
import { fromFiles } from '../../src/kubernetes/access.ts';
import { createApi, type Api } from '../../src/kubernetes/api.ts';
import { startSigner, type SignerApp } from '../../src/signer-app.ts';
import { createKubernetesCsr } from '../../src/kube-ca/kubernetes-csr.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { REQUESTS } from '../../src/signer/answer.ts';
import { eventually } from '../support/eventually.ts';
import { newKey as newCaKey, orderFor } from '../support/kube-ca.ts';
import { newKey, nodeRequest, type Wish } from '../support/node-requests.ts';
import { startCluster, type Cluster } from '../support/real-cluster.ts';

const K8S = fileURLToPath(new URL('../../k8s', import.meta.url));
const NODES = ['n1', 'n2', 'n3'];
const SERVER = { host: '10.96.0.1', port: 443 };
const signal = new AbortController().signal;

interface Answered {
  readonly status?: {
    readonly certificate?: string;
    readonly conditions?: readonly { readonly type: string; readonly reason: string }[];
  };
}

describe('credence signer on a real API server', () => {
  let cluster: Cluster;
  let admin: (args: readonly string[], input?: string) => string;
  const apis = new Map<string, Api>();
  const signers: SignerApp[] = [];
  const tokenOf = (account: string, pod?: { name: string; uid: string }) => {
    const bound = pod
      ? [
          '--bound-object-kind=Pod',
          `--bound-object-name=${pod.name}`,
          `--bound-object-uid=${pod.uid}`,
        ]
      : [];
    return admin(['-n', 'credence', 'create', 'token', account, ...bound]).trim();
  };
  const filesOf = (name: string, token: string) => {
    const file = join(cluster.folder, `${name}.token`);
    writeFileSync(file, token);
    return { ca: join(cluster.pki, 'ca.crt'), token: file };
  };
  const apiOf = (name: string, token: string) => {
    const api = createApi(
      fromFiles({ ...SERVER, ...filesOf(name, token) }, systemClock),
      systemClock,
    );
    apis.set(name, api);
    return api;
  };

  before(async () => {
    cluster = await startCluster();
    admin = (args, input) => cluster.kubectl(args, input);
    admin(['apply', '-f', join(K8S, 'namespace.yaml'), '-f', join(K8S, 'rbac.yaml')]);
    for (const name of ['signer.yaml', 'daemons.yaml']) {
      admin(['apply', '-f', join(K8S, 'signer', name)]);
    }
    admin(['-n', 'credence', 'create', 'serviceaccount', 'other']);
    // May ask as well, and is still nobody that is signed for.
    admin([
      ...['create', 'clusterrolebinding', 'other', '--clusterrole=credence-node-ca'],
      '--serviceaccount=credence:other',
    ]);
    for (const node of NODES) {
      admin(
        ['apply', '-f', '-'],
        JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name: node } }),
      );
      for (const account of ['credence', 'other']) {
        const name = `${account}-${node}`;
        const metadata = { name, namespace: 'credence' };
        const containers = [{ name: 'a', image: 'local.test/none:1' }];
        const spec = { nodeName: node, serviceAccountName: account, containers };
        admin(
          ['apply', '-f', '-'],
          JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec }),
        );
        const uid = admin(['-n', 'credence', 'get', 'pod', name, '-o', 'jsonpath={.metadata.uid}']);
        apiOf(name, tokenOf(account, { name, uid }));
      }
    }
    apiOf('unbound', tokenOf('credence'));
    const { ca, token } = filesOf('signer', tokenOf('credence-signer'));
    const access = { api_server: `${SERVER.host}:${SERVER.port}`, ca_file: ca, token_file: token };
    const text = JSON.stringify({
      ...{ trust_domain: 'example.org', signer: access, telemetry: { metrics_address: '' } },
    });
    const config = parseConfig(text, join(cluster.folder, 'signer.yaml'), {});
    const deps = { clock: systemClock, random: systemRandom, log: silentLogger };
    for (let n = 0; n < 2; n++) signers.push(await startSigner(config, deps));
    await eventually(() => roots().length === 1, { what: 'the root' });
  });

  after(async () => {
    for (const one of signers) one.close();
    for (const api of apis.values()) api.close();
    await cluster[Symbol.asyncDispose]();
  });

  const roots = () =>
    admin([
      '-n',
      'credence',
      'get',
      'configmap',
      'credence-roots',
      '-o',
      'jsonpath={.data.ca\\.crt}',
    ]).match(/-----BEGIN[^]*?END CERTIFICATE-----/g) ?? [];

  /** Asks as whoever has that token; the name of the request. */
  async function ask(who: string, node: string, wish?: Wish): Promise<string> {
    const { metadata, spec, ...kind } = await nodeRequest(node, wish);
    const { request, signerName, usages, expirationSeconds } = spec;
    const { name, annotations } = metadata;
    const asked = { request, signerName, usages, expirationSeconds };
    const body = { ...kind, status: undefined, metadata: { name, annotations }, spec: asked };
    await apis.get(who)?.send('POST', REQUESTS, body, { signal });
    return name;
  }

  async function answer(who: string, name: string): Promise<NonNullable<Answered['status']>> {
    return eventually(
      async () => {
        const { status } = (await apis
          .get(who)
          ?.get(`${REQUESTS}/${name}`, { signal })) as Answered;
        const refusal = status?.conditions?.some(({ type }) => type !== 'Approved');
        return status?.certificate !== undefined || refusal ? status : undefined;
      },
      { what: `an answer to ${name}`, timeoutMs: 60_000 },
    );
  }
  const reason = async (who: string, name: string) =>
    (await answer(who, name)).conditions?.find(({ type }) => type === 'Denied')?.reason;

  it('gives the daemons of three nodes CAs of their own below the root that is told', async (t) => {
    const issued = await Promise.all(
      NODES.map(async (nodeName) => {
        const authority = createKubernetesCsr(
          {
            ...{ apiServer: SERVER, caFile: join(cluster.pki, 'ca.crt'), timeoutMs: 20_000 },
            tokenFile: join(cluster.folder, `credence-${nodeName}.token`),
            ...{ trustDomain: parseTrustDomain('example.org'), nodeName },
            signerName: 'credence.io/node-ca',
            roots: { kind: 'config_map', namespace: 'credence', name: 'credence-roots' },
          },
          { clock: systemClock, random: systemRandom, log: silentLogger },
        );
        t.after(() => authority.close());
        const key = await newCaKey();
        const { chain, roots: told } = await authority.issue(await orderFor(key), { signal });
        const ca = new X509Certificate(chain[0] ?? assert.fail('there is no CA'));
        assert.ok(told.some((root) => ca.verify(new X509Certificate(root).publicKey)));
        assert.deepEqual(ca.publicKey.export({ type: 'spki', format: 'der' }), key.spki);
        return ca.subject;
      }),
    );
    assert.deepEqual(
      issued.map((subject) => /CN=(.*)$/.exec(subject)?.[1]),
      NODES.map((node) => `Credence node ${node}`),
    );
  });

  it('says to a daemon on another node why it is denied', async (t) => {
    const authority = createKubernetesCsr(
      {
        ...{ apiServer: SERVER, caFile: join(cluster.pki, 'ca.crt'), timeoutMs: 20_000 },
        tokenFile: join(cluster.folder, 'credence-n1.token'),
        ...{ trustDomain: parseTrustDomain('example.org'), nodeName: 'n2' },
        signerName: 'credence.io/node-ca',
        roots: { kind: 'config_map', namespace: 'credence', name: 'credence-roots' },
      },
      { clock: systemClock, random: systemRandom, log: silentLogger },
    );
    t.after(() => authority.close());
    await assert.rejects(authority.issue(await orderFor(await newCaKey()), { signal }), {
      code: 'ERR_ISSUER',
      message: /request credence-n2-\w+: it was denied \(OtherNode\): .* does not name n1/,
    });
  });

  it('signs for each node what the published root has signed', async () => {
    const [root = ''] = roots();
    for (const node of NODES) {
      const who = `credence-${node}`;
      const { certificate = '' } = await answer(who, await ask(who, node));
      const ca = new X509Certificate(Buffer.from(certificate, 'base64'));
      assert.equal(ca.subject, `O=example.org\nCN=Credence node ${node}`);
      assert.ok(ca.verify(new X509Certificate(root).publicKey));
    }
  });

  it('denies a forged node, another service account, and a token that is bound to no pod', async () => {
    assert.equal(await reason('credence-n1', await ask('credence-n1', 'n2')), 'OtherNode');
    assert.equal(await reason('other-n1', await ask('other-n1', 'n1')), 'NotTheDaemon');
    assert.equal(await reason('unbound', await ask('unbound', 'n1')), 'NotBoundToAPod');
  });

  it('denies a key that it has seen', async () => {
    const key = await newKey();
    await answer('credence-n1', await ask('credence-n1', 'n1', { key }));
    assert.equal(
      await reason('credence-n1', await ask('credence-n1', 'n1', { key })),
      'KeySeenBefore',
    );
    assert.equal(
      await reason('credence-n2', await ask('credence-n2', 'n2', { key })),
      'KeySeenBefore',
    );
  });

  it('denies a pod that is gone', async () => {
    const file = join(cluster.folder, 'credence-n3.token');
    assert.ok(readFileSync(file).length > 0);
    for (const one of signers.splice(0)) one.close();
    const name = await ask('credence-n3', 'n3');
    admin(['-n', 'credence', 'delete', 'pod', 'credence-n3', '--force', '--grace-period=0']);
    const text = JSON.stringify({
      trust_domain: 'example.org',
      signer: {
        api_server: `${SERVER.host}:${SERVER.port}`,
        ca_file: join(cluster.pki, 'ca.crt'),
        token_file: join(cluster.folder, 'signer.token'),
      },
      telemetry: { metrics_address: '' },
    });
    const config = parseConfig(text, join(cluster.folder, 'signer.yaml'), {});
    const deps = { clock: systemClock, random: systemRandom, log: silentLogger };
    for (let n = 0; n < 2; n++) signers.push(await startSigner(config, deps));
    assert.equal(await reason('credence-n1', name), 'PodGone');
  });

  it('answers many requests at once within seconds', async (t) => {
    const count = 90;
    const startedMs = performance.now();
    const names = await Promise.all(Array.from({ length: count }, () => ask('credence-n2', 'n2')));
    const answers = await Promise.all(names.map((name) => answer('credence-n2', name)));
    const tookMs = performance.now() - startedMs;
    t.diagnostic(`${count} requests in ${Math.round(tookMs)} ms`);
    assert.ok(answers.every(({ certificate }) => certificate !== undefined));
    assert.ok(tookMs < 30_000);
  });

  it('puts the roots back that somebody has taken away', async () => {
    const before = roots();
    admin(['-n', 'credence', 'delete', 'configmap', 'credence-roots']);
    const same = () => JSON.stringify(roots()) === JSON.stringify(before);
    await eventually(same, { what: 'the roots' });
  });
});
