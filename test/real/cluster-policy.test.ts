// A process in the cgroup of a pod, and a cluster whose ClusterSPIFFEIDs say what it is. Needs root.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, beforeEach, describe, it, type TestContext } from 'node:test';
import { startApiServer, type ApiServer } from '../support/api-server.ts';
import { startApp, type TestApp } from '../support/app.ts';
import {
  CLUSTER_SPIFFE_IDS,
  createFakeCluster,
  NAMESPACES,
  PODS,
  type FakeCluster,
} from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { pod, type PodParts } from '../support/pods.ts';
import { openSdsStream } from '../support/sds-stream.ts';

const UID = '5f1d4a54-5c0a-4d0e-9b46-70a1c3d1e5aa';
const ID = 'ef'.repeat(32);
const CONTAINER = `/kubepods/burstable/pod${UID}/${ID}`;
const ROOT = ['/sys/fs/cgroup/freezer', '/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((root) =>
  existsSync(join(root, 'cgroup.procs')),
);
const WEB = 'spiffe://example.org/shop/web';
const CART = 'spiffe://example.org/shop/cart';
const BY_LABEL = {
  spiffeIDTemplate:
    'spiffe://{{ .TrustDomain }}/{{ .PodMeta.Namespace }}/{{ index .PodMeta.Labels "app" }}',
  namespaceSelector: { matchLabels: { env: 'prod' } },
};

function moveTo(path: string): void {
  const folder = join(ROOT ?? assert.fail('no cgroup hierarchy'), path);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'cgroup.procs'), String(process.pid));
}

describe('a process in a pod that a ClusterSPIFFEID is for', { timeout: 60_000 }, () => {
  let api: ApiServer;
  let app: TestApp;
  let cluster: FakeCluster;

  before(() => {
    assert.equal(process.getuid?.(), 0, 'these tests make cgroups: run them as root');
  });
  beforeEach(async (t) => {
    moveTo('/');
    api = await startApiServer();
    cluster = createFakeCluster();
    api.behave(cluster.behaviour);
    cluster.put(NAMESPACES, 'shop', { metadata: { labels: { env: 'prod' } } });
    cluster.put(CLUSTER_SPIFFE_IDS, 'by-label', { metadata: {}, spec: BY_LABEL });
    putPod({ labels: { app: 'web' } });
    app = await startApp({
      entries: [],
      settings: {
        sds: { pending_timeout: '2s', denied_park: '0s' },
        policy: { paths: ['policy.yaml'], kubernetes: { enabled: true } },
        attestation: {
          kubernetes: {
            ...{ enabled: true, node_name: 'node-1', api_server: `${api.host}:${api.port}` },
            ...{ ca_file: api.caFile, token_file: api.tokenFile },
          },
        },
      },
    });
    moveTo(CONTAINER);
    (t as TestContext).after(async () => {
      moveTo('/');
      await app.close();
      await api[Symbol.asyncDispose]();
    });
  });
  after(() => {
    for (let at = CONTAINER; at !== '/'; at = dirname(at)) rmdirSync(join(ROOT ?? '', at));
  });

  function putPod(parts: PodParts): void {
    const object = pod({ uid: UID, ...parts }) as {
      status: { containerStatuses: { containerID: string }[] };
    };
    for (const status of object.status.containerStatuses) status.containerID = `containerd://${ID}`;
    cluster.put(PODS, 'web', object);
  }
  const within = async (what: string, probe: () => boolean) => {
    const since = performance.now();
    await eventually(probe, { what, timeoutMs: 1000 });
    return performance.now() - since;
  };

  it('has its ID at the first stream, however early that comes', async () => {
    using web = openSdsStream(app.socketPath, [WEB]);
    await eventually(() => web.responses.length === 1, { what: 'the certificate' });
    assert.equal(web.ended(), undefined);
  });

  for (const [what, change] of [
    ['the labels of its pod', () => putPod({ labels: { app: 'cart' } })],
    [
      'the labels of its namespace',
      () => cluster.put(NAMESPACES, 'shop', { metadata: { labels: {} } }),
    ],
    [
      'the manifest',
      () => {
        const spec = { ...BY_LABEL, spiffeIDTemplate: CART };
        cluster.put(CLUSTER_SPIFFE_IDS, 'by-label', { metadata: {}, spec });
      },
    ],
    [
      'nothing but the manifest, which is gone',
      () => cluster.remove(CLUSTER_SPIFFE_IDS, 'by-label'),
    ],
  ] as const) {
    it(`loses it on an open stream within 100 ms when a change is ${what}`, async () => {
      using web = openSdsStream(app.socketPath, [WEB]);
      using roots = openSdsStream(app.socketPath, ['ROOTCA']);
      await eventually(() => web.responses.length + roots.responses.length === 2, { what: 'both' });
      change();
      const ms = await within('the end', () => web.ended() !== undefined);
      assert.equal(web.ended()?.code, 7);
      assert.ok(ms < 100, `${ms} ms`);
      assert.equal(roots.ended(), undefined);
    });
  }

  it('keeps it while the API server is away', async () => {
    using web = openSdsStream(app.socketPath, [WEB]);
    await eventually(() => web.responses.length === 1, { what: 'the certificate' });
    cluster.away(true);
    await eventually(() => app.log.count('warn', 'cannot be followed') > 0, {
      what: 'the warning',
    });
    using again = openSdsStream(app.socketPath, [WEB]);
    await eventually(() => again.responses.length === 1, { what: 'the certificate again' });
    assert.equal(web.ended(), undefined);
  });
});
