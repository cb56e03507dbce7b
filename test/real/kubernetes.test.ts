// A process in the cgroup of a pod, and an API server that tells of that pod. Needs root.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { dirname, join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { listOf, startApiServer, type ApiServer } from '../support/api-server.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { eventually } from '../support/eventually.ts';
import { pod, type PodParts } from '../support/pods.ts';
import { openSdsStream } from '../support/sds-stream.ts';

const UID = '2c48913c-b29f-41e7-9350-020968147796';
const ID = 'ab'.repeat(32);
/** Of a hierarchy that every machine has, v2 or not. */
const ROOT = ['/sys/fs/cgroup/freezer', '/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((root) =>
  existsSync(join(root, 'cgroup.procs')),
);
const CART = 'spiffe://example.org/shop/cart';
const WEB = 'spiffe://example.org/shop/web';
const ENTRIES = [
  {
    spiffe_id: 'spiffe://example.org/{k8s:ns}/{k8s:pod-label:app}',
    selectors: ['k8s:container-name:web'],
  },
  { spiffe_id: 'spiffe://example.org/host', selectors: ['unix:uid:0'] },
];

/** Moves this process into a cgroup of this path, which is made for it. */
function moveTo(path: string): void {
  const folder = join(ROOT ?? assert.fail('no cgroup hierarchy'), path);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'cgroup.procs'), String(process.pid));
}

describe('a process in a pod', { timeout: 60_000 }, () => {
  const made = new Set<string>();
  let api: ApiServer;
  let app: TestApp;
  let watch: ServerResponse | undefined;

  before(() => {
    assert.equal(process.getuid?.(), 0, 'these tests make cgroups: run them as root');
  });
  beforeEach(async (t) => {
    moveTo('/');
    api = await startApiServer();
    watch = undefined;
    api.behave(listOf('1'), (_, response) => {
      watch = response.writeHead(200);
      watch.flushHeaders();
    });
    app = await startApp({
      entries: ENTRIES,
      settings: {
        sds: { pending_timeout: '1s', denied_park: '0s' },
        attestation: {
          kubernetes: {
            enabled: true,
            node_name: 'node-1',
            api_server: `${api.host}:${api.port}`,
            ca_file: api.caFile,
            token_file: api.tokenFile,
          },
        },
      },
    });
    await eventually(() => watch !== undefined, { what: 'the watch' });
    (t as { after(fn: () => Promise<void>): void }).after(async () => {
      moveTo('/');
      await app.close();
      await api[Symbol.asyncDispose]();
    });
  });
  after(() => {
    for (const path of [...made].sort().reverse()) rmdirSync(join(ROOT ?? '', path));
  });

  const inPod = (path: string) => {
    for (let at = path; at !== '/'; at = dirname(at)) made.add(at);
    moveTo(path);
  };
  const tell = (type: 'ADDED' | 'MODIFIED' | 'DELETED', version: string, parts: PodParts) => {
    const object = pod({ uid: UID, version, ...parts }) as {
      status: { containerStatuses: { containerID: string }[] };
    };
    for (const status of object.status.containerStatuses) status.containerID = `containerd://${ID}`;
    watch?.write(`${JSON.stringify({ type, object })}\n`);
  };
  const CONTAINER = `/kubepods/burstable/pod${UID}/${ID}`;

  it('waits for its pod to be known, and is what the pod is', async () => {
    inPod(CONTAINER);
    assert.match(readFileSync('/proc/self/cgroup', 'latin1'), /\/kubepods\/burstable\/pod/);
    using stream = openSdsStream(app.socketPath, [CART]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(stream.responses.length, 0);
    tell('ADDED', '2', { labels: { app: 'cart' } });
    await eventually(() => stream.responses.length === 1, { what: 'the certificate' });
  });

  it('never passes for a process of the host while its pod is not known', async () => {
    inPod(CONTAINER);
    using stream = openSdsStream(app.socketPath, ['spiffe://example.org/host']);
    await eventually(() => stream.ended(), { what: 'the end' });
    assert.equal(stream.ended()?.code, 14);
    assert.equal(stream.responses.length, 0);
  });

  /** As `credence explain --pid` asks it. */
  async function explain() {
    const told = JSON.parse(await app.get(`/explain?pid=${process.pid}`)) as {
      steps: readonly { step: string; text: string }[];
      refusal: string | null;
      identities: readonly { spiffe_id: string }[];
    };
    const step = (name: string) => told.steps.find((one) => one.step === name)?.text ?? '';
    return { step, refusal: told.refusal, ids: told.identities.map(({ spiffe_id }) => spiffe_id) };
  }

  it('is explained as far as its pod is known, without waiting for long', async () => {
    inPod(CONTAINER);
    const { step, refusal, ids } = await explain();
    assert.match(step('cgroup'), new RegExp(CONTAINER));
    assert.equal(step('pod'), `uid ${UID}, which is not known here`);
    assert.match(refusal ?? '', /not known within 2 s/);
    assert.deepEqual(ids, []);
  });

  it('is explained by cgroup, container and pod', async () => {
    inPod(CONTAINER);
    tell('ADDED', '2', { labels: { app: 'cart' } });
    using stream = openSdsStream(app.socketPath, [CART]);
    await eventually(() => stream.responses.length === 1, { what: 'the certificate' });
    const { step, refusal, ids } = await explain();
    assert.equal(refusal, null);
    assert.match(step('socket'), /1 open streams of this process on 1 connections$/);
    assert.match(step('container'), new RegExp(`^web, image .*, id ${ID}$`));
    assert.match(step('pod'), new RegExp(`^shop/web-1, uid ${UID}, service account web`));
    assert.match(step('known'), /^1 pod of node-1, last heard of \d s ago$/);
    // It runs as root, which is a selector of its own.
    assert.deepEqual(ids, ['spiffe://example.org/host', CART]);
  });

  it('becomes what its pod has become, and loses the former, within a second', async () => {
    inPod(CONTAINER);
    tell('ADDED', '2', { labels: { app: 'cart' } });
    using cart = openSdsStream(app.socketPath, [CART]);
    using roots = openSdsStream(app.socketPath, ['ROOTCA']);
    await eventually(() => cart.responses.length + roots.responses.length === 2, { what: 'both' });
    tell('MODIFIED', '3', { labels: { app: 'web' } });
    await eventually(() => cart.ended(), { what: 'the end of the former', timeoutMs: 1000 });
    assert.equal(cart.ended()?.code, 7);
    using web = openSdsStream(app.socketPath, [WEB]);
    await eventually(() => web.responses.length === 1, { what: 'the new one', timeoutMs: 1000 });
    assert.equal(roots.ended(), undefined);
  });

  it('goes on when its pod changes in ways that no selector says', async () => {
    inPod(CONTAINER);
    tell('ADDED', '2', { labels: { app: 'cart' } });
    using cart = openSdsStream(app.socketPath, [CART]);
    await eventually(() => cart.responses.length === 1, { what: 'the certificate' });
    tell('MODIFIED', '3', { labels: { app: 'cart' }, annotations: { a: 'b' } });
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.deepEqual([cart.ended(), cart.responses.length], [undefined, 1]);
  });

  it('has nothing any more once its pod is deleted', async () => {
    inPod(CONTAINER);
    tell('ADDED', '2', { labels: { app: 'cart' } });
    using cart = openSdsStream(app.socketPath, [CART]);
    await eventually(() => cart.responses.length === 1, { what: 'the certificate' });
    tell('DELETED', '3', { labels: { app: 'cart' } });
    await eventually(() => cart.ended(), { what: 'the end', timeoutMs: 1000 });
    using again = openSdsStream(app.socketPath, [CART]);
    await eventually(() => again.ended(), { what: 'the refusal' });
    assert.equal(again.ended()?.code, 14);
  });

  it('stays what it is when it makes cgroups like those of another pod', async () => {
    const victim = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee';
    inPod(`${CONTAINER}/kubepods/burstable/pod${victim}/${'cd'.repeat(32)}`);
    tell('ADDED', '2', { labels: { app: 'cart' } });
    using cart = openSdsStream(app.socketPath, [CART]);
    await eventually(() => cart.responses.length === 1, { what: 'the certificate' });
  });

  it('is refused in a cgroup of the pod that is no container', async () => {
    inPod(`/kubepods/burstable/pod${UID}/conmon`);
    tell('ADDED', '2', { labels: { app: 'cart' } });
    using stream = openSdsStream(app.socketPath, ['spiffe://example.org/host']);
    await eventually(() => stream.ended(), { what: 'the end' });
    assert.equal(stream.ended()?.code, 14);
  });

  it('is a process of the host outside of all pods', async () => {
    using stream = openSdsStream(app.socketPath, ['spiffe://example.org/host']);
    await eventually(() => stream.responses.length === 1, { what: 'the certificate' });
  });
});
