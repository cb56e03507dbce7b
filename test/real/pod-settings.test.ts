// Processes in the cgroup of a pod, by labels of its namespace and without container selectors. Needs root.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { startApiServer } from '../support/api-server.ts';
import { startApp } from '../support/app.ts';
import { createFakeCluster, NAMESPACES, PODS } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { pod } from '../support/pods.ts';
import { openSdsStream } from '../support/sds-stream.ts';

const UID = '0b54a7e1-6b3a-4c11-9b8f-9ad1f6c2d3e4';
const ID = '3c'.repeat(32);
const CONTAINER = `/kubepods/burstable/pod${UID}/${ID}`;
const ROOT = ['/sys/fs/cgroup/freezer', '/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((root) =>
  existsSync(join(root, 'cgroup.procs')),
);
const PROD = 'spiffe://example.org/prod';
const SHOP = 'spiffe://example.org/shop';
const ENTRIES = [
  { spiffe_id: PROD, selectors: ['k8s:ns-label:env:prod', 'k8s:sa:web'] },
  { spiffe_id: SHOP, selectors: ['k8s:ns:shop', 'k8s:sa:web'] },
];

function moveTo(path: string): void {
  const folder = join(ROOT ?? assert.fail('no cgroup hierarchy'), path);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'cgroup.procs'), String(process.pid));
}

/** A daemon with these settings and a cluster whose only pod this process is in. */
async function inPod(t: TestContext, settings: object, containers: readonly string[]) {
  const api = await startApiServer();
  const cluster = createFakeCluster();
  api.behave(cluster.behaviour);
  const object = pod({ uid: UID, containers, ids: { web: ID } });
  cluster.put(PODS, 'web', object);
  moveTo('/');
  const app = await startApp({
    entries: ENTRIES,
    settings: {
      sds: { pending_timeout: '2s', denied_park: '0s' },
      attestation: {
        kubernetes: {
          ...{ enabled: true, node_name: 'node-1', api_server: `${api.host}:${api.port}` },
          ...{ ca_file: api.caFile, token_file: api.tokenFile, ...settings },
        },
      },
    },
  });
  moveTo(CONTAINER);
  t.after(async () => {
    moveTo('/');
    await app.close();
    await api[Symbol.asyncDispose]();
  });
  return { app, cluster };
}

describe('a process in a pod', { timeout: 60_000 }, () => {
  before(() => {
    assert.equal(process.getuid?.(), 0, 'these tests make cgroups: run them as root');
  });
  after(() => {
    moveTo('/');
    for (let at = CONTAINER; at !== '/'; at = dirname(at)) rmdirSync(join(ROOT ?? '', at));
  });

  it('has what the labels of its namespace give it for as long as they do', async (t) => {
    const { app, cluster } = await inPod(t, { namespace_labels: true }, ['web']);
    using early = openSdsStream(app.socketPath, [SHOP]);
    await eventually(async () => /waiting_processes 1/.test(await app.get('/metrics')), {
      what: 'it waits for its namespace',
    });
    cluster.put(NAMESPACES, 'shop', { metadata: { labels: { env: 'prod' } } });
    await eventually(() => early.responses.length === 1, { what: 'the certificate' });
    using prod = openSdsStream(app.socketPath, [PROD]);
    await eventually(() => prod.responses.length === 1, { what: 'that of the label' });
    cluster.put(NAMESPACES, 'shop', { metadata: { labels: { env: 'test' } } });
    await eventually(() => prod.ended() !== undefined, { what: 'the end', timeoutMs: 1000 });
    assert.equal(prod.ended()?.code, 7);
    assert.equal(early.ended(), undefined);
  });

  it('is its pod, though nobody has told of its container, where these are not told apart', async (t) => {
    const { app } = await inPod(t, { container_selectors: false }, []);
    using web = openSdsStream(app.socketPath, [SHOP]);
    await eventually(() => web.responses.length === 1, { what: 'the certificate' });
  });

  it('waits for its container where these are', async (t) => {
    const { app } = await inPod(t, {}, []);
    using web = openSdsStream(app.socketPath, [SHOP]);
    await eventually(() => web.ended() !== undefined, { what: 'the end', timeoutMs: 5000 });
    assert.equal(web.ended()?.code, 14);
    assert.equal(web.responses.length, 0);
  });
});
