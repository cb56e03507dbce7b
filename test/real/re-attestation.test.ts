// What becomes of open streams when the pod, the process or the API server changes. Needs root.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { before, describe, it, type TestContext } from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { startApiServer } from '../support/api-server.ts';
import { startApp, type Entry } from '../support/app.ts';
import { startBorrowed } from '../support/borrowed-socket.ts';
import { ANY, createCgroups, moveInto } from '../support/pod-cgroups.ts';
import { createCluster } from '../support/pod-cluster.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { ID, UID, VICTIM, VICTIM_ID } from '../support/pod-server.ts';
import { pod, type PodParts } from '../support/pods.ts';
import { connectProxy, type Proxy, type ProxyStream } from '../support/sds-proxy.ts';
import { openSdsStream, type SdsStream } from '../support/sds-stream.ts';

const DOMAIN = 'spiffe://example.org';
const ENTRIES: readonly Entry[] = [
  { spiffe_id: `${DOMAIN}/{k8s:ns}/{k8s:pod-label:app}`, selectors: ['k8s:container-name:web'] },
  { spiffe_id: `${DOMAIN}/host`, selectors: ['unix:uid:0'], priority: -1 },
];
const CART = `${DOMAIN}/shop/cart`;
const BANK = `${DOMAIN}/shop/bank`;
const HOST = `${DOMAIN}/host`;

interface Options {
  readonly entries?: readonly Entry[];
  readonly clock?: FakeClock;
  readonly settings?: Readonly<Record<string, unknown>>;
}

async function startNode(t: TestContext, { entries = ENTRIES, clock, settings }: Options = {}) {
  const api = await startApiServer();
  const cluster = createCluster();
  api.behave(cluster.serve);
  const cgroups = createCgroups();
  const kubernetes = {
    ...{ enabled: true, node_name: 'node-1', api_server: `${api.host}:${api.port}` },
    ...{ ca_file: api.caFile, token_file: api.tokenFile },
  };
  const app = await startApp({
    entries,
    settings: {
      sds: { pending_timeout: '3s', denied_park: '0s' },
      attestation: { kubernetes },
      ...settings,
    },
    ...(clock ? { deps: { clock } } : {}),
  });
  await eventually(() => cluster.watches === 1, { what: 'the watch' });
  t.after(async () => {
    moveInto(ANY);
    await app[Symbol.asyncDispose]();
    await api[Symbol.asyncDispose]();
    cgroups[Symbol.dispose]();
  });
  return {
    ...{ api, app, cluster },
    /** Folder of a container's cgroup. */
    container: (uid = UID, id = ID) => cgroups.make(`/kubepods/burstable/pod${uid}/${id}`),
  };
}

const shop = (app: string, parts: PodParts = {}) =>
  pod({ uid: UID, name: app, labels: { app }, ids: { web: ID }, ...parts });

const answered = (stream: SdsStream, what: string) =>
  eventually(() => stream.responses.length > 0, {
    what,
    hopeless: () => {
      const ended = stream.ended();
      return ended && `it ended: ${ended.code} ${ended.details}`;
    },
  });
const over = async (stream: SdsStream, code: number) => {
  await eventually(() => stream.ended(), { what: 'the end', timeoutMs: 5000 });
  assert.equal(stream.ended()?.code, code, stream.ended()?.details);
};
/** A further stream of a connection. */
function asking(proxy: Proxy, name: string): ProxyStream {
  const stream = proxy.stream();
  stream.ask(name);
  return stream;
}
const [DENIED, UNAVAILABLE] = [7, 14];

describe('the open streams of a process in a pod', { timeout: 90_000 }, () => {
  before(() => assert.equal(process.getuid?.(), 0, 'these tests make cgroups: run them as root'));

  it('end when their process does, also while another one has its socket', async (t) => {
    const { app, cluster, container } = await startNode(t);
    cluster.put(shop('cart'));
    await using borrowed = startBorrowed(app.socketPath);
    const pid = await borrowed.next(container());
    using cart = openSdsStream(borrowed.path(0), [CART]);
    // Who holds the socket speaks as who opened it, as long as that one lives.
    await answered(cart, 'the certificate');
    const { proxies } = await app.status();
    assert.deepEqual(proxies[0]?.pid, pid);
    await borrowed.endProcess();
    await over(cart, UNAVAILABLE);
  });

  it('are not those of another process that has the same pid later', async (t) => {
    const { app, cluster, container } = await startNode(t);
    cluster.put(shop('cart'));
    await using borrowed = startBorrowed(app.socketPath, { samePid: true });
    const first = await borrowed.next(container());
    using cart = openSdsStream(borrowed.path(0), [CART]);
    await answered(cart, 'the certificate');
    const second = await borrowed.next();
    assert.equal(second, first, 'the number is used again');
    assert.ok(existsSync(`/proc/${second}`));
    await over(cart, UNAVAILABLE);
    using proxy = connectProxy(borrowed.path(1));
    assert.equal((await asking(proxy, CART).ending()).code, 'PERMISSION_DENIED');
    // What it is itself.
    await asking(proxy, HOST).next();
  });

  it('end when its container is restarted, and the new one is the same pod', async (t) => {
    const { app, cluster, container } = await startNode(t);
    cluster.put(shop('cart'));
    await using borrowed = startBorrowed(app.socketPath);
    await borrowed.next(container());
    using cart = openSdsStream(borrowed.path(0), [CART]);
    await answered(cart, 'the certificate');
    const restarted = 'ef'.repeat(32);
    cluster.put(shop('cart', { ids: { web: restarted } }));
    await over(cart, UNAVAILABLE);
    await borrowed.next(container(UID, restarted));
    using again = openSdsStream(borrowed.path(1), [CART]);
    await answered(again, 'the certificate of the new container');
  });

  it('wait in a restarted container while the status still shows the former one', async (t) => {
    const { app, cluster, container } = await startNode(t);
    cluster.put(shop('cart'));
    const restarted = 'ef'.repeat(32);
    moveInto(container(UID, restarted));
    using cart = openSdsStream(app.socketPath, [CART]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.deepEqual([cart.ended(), cart.responses.length], [undefined, 0]);
    cluster.put(shop('cart', { ids: { web: restarted } }));
    await answered(cart, 'the certificate');
  });

  it('end when the pod is deleted and made again under its name, as another one', async (t) => {
    const { app, cluster, container } = await startNode(t);
    cluster.put(shop('cart'));
    moveInto(container());
    using cart = openSdsStream(app.socketPath, [CART]);
    await answered(cart, 'the certificate');
    await using borrowed = startBorrowed(app.socketPath);
    cluster.remove(UID);
    cluster.put(shop('cart', { uid: VICTIM, ids: { web: VICTIM_ID } }));
    await over(cart, UNAVAILABLE);
    // The old process still runs: it is in no pod that is there.
    using still = openSdsStream(app.socketPath, ['default']);
    await over(still, UNAVAILABLE);
    await borrowed.next(container(VICTIM, VICTIM_ID));
    using again = openSdsStream(borrowed.path(0), [CART]);
    await answered(again, 'the certificate of the new pod');
  });

  it('end when it leaves its cgroup, and it is then what it is there', async (t) => {
    const { app, cluster, container } = await startNode(t);
    cluster.put(shop('cart'));
    cluster.put(shop('bank', { uid: VICTIM, ids: { web: VICTIM_ID } }));
    moveInto(container());
    using cart = openSdsStream(app.socketPath, [CART]);
    await answered(cart, 'the certificate');
    moveInto(container(VICTIM, VICTIM_ID));
    await over(cart, UNAVAILABLE);
    using former = openSdsStream(app.socketPath, [CART]);
    await over(former, DENIED);
    using bank = openSdsStream(app.socketPath, [BANK]);
    await answered(bank, 'what it is now');
  });

  it('tell labels apart by every character they may have', async (t) => {
    const key = 'a0.b-c/D9.e_f-G';
    const value = 'Z0.a_b-C9..__--x';
    const { app, cluster, container } = await startNode(t, {
      entries: [
        {
          spiffe_id: `${DOMAIN}/{k8s:pod-label:${key}}`,
          selectors: [`k8s:pod-label:${key}:${value}`, 'k8s:pod-label:empty:'],
        },
        // No segment can be empty.
        { spiffe_id: `${DOMAIN}/e/{k8s:pod-label:empty}`, selectors: ['k8s:ns:shop'] },
      ],
    });
    moveInto(container());
    cluster.put(shop('cart', { labels: { [key]: value, empty: '' } }));
    using one = openSdsStream(app.socketPath, [`${DOMAIN}/${value}`]);
    await answered(one, 'the certificate');
    using none = openSdsStream(app.socketPath, [`${DOMAIN}/e/`]);
    await over(none, DENIED);
    // One character less is another label.
    cluster.put(shop('cart', { labels: { [key]: value.slice(0, -1), empty: '' } }));
    await over(one, DENIED);
  });
});

describe('an API server that is away for ten minutes', { timeout: 90_000 }, () => {
  it('leaves known pods what they are, with their rotation, and unknown ones waiting', async (t) => {
    const clock = new FakeClock(systemClock.now());
    const { api, app, cluster, container } = await startNode(t, {
      clock,
      settings: { issuer: { x509_svid_ttl: '5m' } },
    });
    /** Lets time pass; what others do is real and takes its own. */
    const pass = async (seconds: number) => {
      for (let n = 0; n < seconds; n++) {
        await clock.advance(1000);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    };
    cluster.put(shop('cart'));
    moveInto(container());
    using cart = openSdsStream(app.socketPath, [CART]);
    await answered(cart, 'the certificate');
    await api.leave();
    await pass(300);
    await using borrowed = startBorrowed(app.socketPath);
    await borrowed.next(container(VICTIM, VICTIM_ID));
    using proxy = connectProxy(borrowed.path(0));
    const early = asking(proxy, BANK);
    await eventually(async () => /waiting_processes 1/.test(await app.get('/metrics')), {
      what: 'it waits',
    });
    await pass(5);
    assert.equal((await early.ending()).code, 'UNAVAILABLE');
    await pass(295);
    assert.equal(cart.ended(), undefined);
    assert.ok(cart.responses.length >= 4, `it was renewed ${cart.responses.length - 1} times`);
    using again = openSdsStream(app.socketPath, [CART]);
    await answered(again, 'a further stream of the known pod');
    assert.match(await app.get('/metrics'), /^credence_kubernetes_heard_seconds [56]\d\d/m);

    cluster.put(shop('bank', { uid: VICTIM, ids: { web: VICTIM_ID } }));
    await api.back();
    const late = asking(proxy, BANK);
    await eventually(
      async () => {
        await pass(1);
        return late.responses.length > 0;
      },
      { what: 'the certificate of what was unknown' },
    );
    assert.equal(cart.ended(), undefined);
    assert.ok(app.log.count('warn', 'the API server cannot be followed') === 1);
  });
});
