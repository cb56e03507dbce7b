import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { describe, it, type TestContext } from 'node:test';
import {
  broken,
  document,
  halved,
  slowly,
  startApiServer,
  type ApiServer,
} from '../../test/support/api-server.ts';
import { createCluster } from '../../test/support/pod-cluster.ts';
import { eventually } from '../../test/support/eventually.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { seededRandom } from '../../test/support/fake-random.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import { pod, type PodParts } from '../../test/support/pods.ts';
import { systemClock, type Clock } from '../core/clock.ts';
import { fromFiles, type AccessFiles } from './access.ts';
import { createApi } from './api.ts';
import { followKubelet } from './kubelet.ts';
import { createPodIndex } from './pod-index.ts';
import { createPodMirror } from './pod-mirror.ts';
import { followApiServer } from './pod-source.ts';
import { createPods } from './pods.ts';

const { signal } = new AbortController();
setMaxListeners(0, signal);

type Kind = 'api' | 'kubelet';

interface OpenOptions {
  readonly server?: ApiServer;
  readonly access?: Partial<AccessFiles>;
  /** Of the kubelet, which is asked ten times a second unless told. */
  readonly everyMs?: number;
  readonly clock?: Clock;
}

/** On which minutes pass like moments: a kubelet's pods are not gone before. */
const HASTY: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() * 1000 };

/** Who tells of the pods, and all that hears it; `begin` starts it. */
async function open(t: TestContext, kind: Kind, options: OpenOptions = {}) {
  const names = kind === 'kubelet' ? 'DNS:node-1' : 'IP:127.0.0.1';
  const server = options.server ?? (await startApiServer({ names }));
  const cluster = createCluster();
  server.behave(cluster.serve);
  const log = new FakeLogger();
  const index = createPodIndex('node-1', assert.ifError);
  const closing = new AbortController();
  const { host, port, caFile: ca, tokenFile: token } = server;
  const name = kind === 'kubelet' ? { serverName: 'node-1' } : {};
  const files = { host, port, ca, token, ...name, ...options.access };
  const api = createApi(fromFiles(files, systemClock), systemClock);
  t.after(async () => {
    closing.abort(new Error('the end of the test'));
    api.close();
    await server[Symbol.asyncDispose]();
  });
  const clock = options.clock ?? (kind === 'kubelet' ? HASTY : systemClock);
  const begin = () => {
    const mirror = createPodMirror(index, clock);
    const deps = { api, clock, random: seededRandom(), log, signal: closing.signal };
    const source =
      kind === 'kubelet'
        ? followKubelet(options.everyMs ?? 100, mirror, deps)
        : followApiServer('node-1', mirror, deps);
    const pods = createPods({
      ...{ index, clock: systemClock, closing: closing.signal },
      relist: () => source.relist(),
    });
    return { source, mirror, pods };
  };
  return { server, cluster, log, index, begin };
}

const has = (index: { readonly size: number }, size: number) =>
  eventually(() => index.size === size, { what: `${size} pods are known` });
const trouble = (log: FakeLogger) => log.count('warn', 'cannot be followed');
const of = (name: string, more: PodParts = {}) =>
  pod({ uid: `uid-${name}`, name, containers: [name], ...more });

for (const kind of ['api', 'kubelet'] as const) {
  describe(`pods told of by the ${kind}`, { timeout: 30_000 }, () => {
    it('are those of the node, those that are there and those that come', async (t) => {
      const { cluster, index, begin } = await open(t, kind);
      cluster.put(of('a'));
      cluster.put(of('far', { nodeName: 'node-2' }));
      begin();
      await has(index, 1);
      cluster.put(of('b'));
      await has(index, 2);
      assert.equal(index.find('uid-b', 'id-b')?.pod.name, 'b');
    });

    it('are not those that have ended, of which there may be any number', async (t) => {
      const { server, cluster, index, begin } = await open(t, kind);
      for (let n = 0; n < 50; n++) cluster.put(of(`failed-${n}`, { phase: 'Failed' }));
      cluster.put(of('a'));
      cluster.put(of('done'));
      begin();
      await has(index, 2);
      cluster.put(of('done', { phase: 'Succeeded' }));
      await has(index, 1);
      assert.equal(index.find('uid-a', 'id-a')?.pod.name, 'a');
      const running = 'spec.nodeName=node-1,status.phase!=Failed,status.phase!=Succeeded';
      if (kind === 'kubelet') return;
      for (const asked of server.asked) assert.ok(decodeURIComponent(asked).includes(running));
    });

    it('may be none at all', async (t) => {
      const { cluster, index, begin } = await open(t, kind);
      const { mirror } = begin();
      await eventually(() => mirror.heardAgoMs() !== undefined, { what: 'an answer' });
      cluster.put(of('a'));
      await has(index, 1);
      cluster.remove('uid-a');
      await has(index, 0);
    });

    it('change their labels and go, and who asked to be told is', async (t) => {
      const { cluster, index, begin } = await open(t, kind);
      cluster.put(of('a', { labels: { app: 'cart' } }));
      begin();
      await has(index, 1);
      const changes: string[] = [];
      index.onChange((uid) => changes.push(uid));
      cluster.put(of('a', { labels: { app: 'web' } }));
      await eventually(() => changes.length === 1, { what: 'the change' });
      assert.equal(index.byUid('uid-a')?.labels.get('app'), 'web');
      cluster.remove('uid-a');
      await eventually(() => changes.length === 2, { what: 'the end' });
      assert.equal(index.find('uid-a', 'id-a'), undefined);
    });

    it('are others when they are made again under their name', async (t) => {
      const { cluster, index, begin } = await open(t, kind);
      cluster.put(of('a'));
      begin();
      await has(index, 1);
      cluster.remove('uid-a');
      cluster.put(of('a', { uid: 'uid-again', containers: ['again'] }));
      await eventually(() => index.byUid('uid-again'), { what: 'the other one' });
      await eventually(() => !index.find('uid-a', 'id-a'), { what: 'the end of the former' });
      assert.equal(index.find('uid-a', 'id-again'), undefined);
    });

    it('are waited for, and answered from one list for all that wait', async (t) => {
      const { server, cluster, index, begin } = await open(t, kind, { everyMs: 60_000 });
      const { pods, mirror } = begin();
      await eventually(() => mirror.heardAgoMs() !== undefined, { what: 'an answer' });
      if (kind === 'api') await eventually(() => cluster.watches === 1, { what: 'the watch' });
      const before = server.asked.length;
      server.behave(slowly(100, cluster.serve));
      const waiting = Array.from({ length: 60 }, () =>
        Promise.resolve(pods.locate('uid-a', 'id-a', { signal })),
      );
      assert.equal(index.size, 0);
      // The watch may tell of it as well: it is there once somebody has asked.
      await eventually(() => server.asked.length > before, { what: 'somebody asks' });
      cluster.put(of('a'));
      for (const { container } of await Promise.all(waiting)) assert.equal(container?.name, 'a');
      assert.equal(server.asked.length, before + 1);
    });

    it('have containers without an id while they start, and while a postStart hook runs', async (t) => {
      const { cluster, begin, index } = await open(t, kind);
      const starting = of('a') as { status: { containerStatuses: object[] } };
      starting.status.containerStatuses = [{ name: 'a' }];
      cluster.put(starting);
      const { pods } = begin();
      await has(index, 1);
      const found = Promise.resolve(pods.locate('uid-a', 'id-a', { signal }));
      cluster.put(of('a'));
      assert.equal((await found).container?.name, 'a');
    });

    it('may be static: known by a hash, found with the container alone', async (t) => {
      const { cluster, index, begin } = await open(t, kind);
      const hash = '2732ca68f6358eba7703fb6f82a25c94';
      const parts = { containers: ['etcd'], serviceAccountName: undefined };
      cluster.putStatic(of('etcd', { ...parts, containers: [] }), hash);
      begin();
      await has(index, 1);
      // Told of without a version by its kubelet: it has changed all the same.
      cluster.putStatic(of('etcd', parts), hash);
      const found = () => index.find(hash, 'id-etcd');
      await eventually(found, { what: 'its container' });
      assert.deepEqual([found()?.pod.name, found()?.pod.serviceAccount], ['etcd', '']);
      assert.equal(index.find(hash, 'id-other'), undefined);
      assert.equal(index.find('f'.repeat(32), 'id-etcd'), undefined);
    });

    it('have init, sidecar and ephemeral containers', async (t) => {
      const { cluster, index, begin } = await open(t, kind);
      cluster.put(of('a', { inits: ['setup', 'sidecar'], ephemeral: ['debug'] }));
      begin();
      await has(index, 1);
      const kindOf = (name: string) => index.find('uid-a', `id-${name}`)?.container.kind;
      assert.deepEqual(['a', 'setup', 'sidecar', 'debug'].map(kindOf), [
        'container',
        'init',
        'init',
        'ephemeral',
      ]);
    });

    it('stay known while nobody tells of them, which is said once, and are followed again', async (t) => {
      const { server, cluster, index, log, begin } = await open(t, kind);
      cluster.put(of('a'));
      begin();
      await has(index, 1);
      const faults = [broken, document({ message: 'down' }, 503), halved, document([])];
      server.behave(...faults, document({ message: 'slow down' }, 429), cluster.serve);
      cluster.put(of('b'));
      cluster.endWatches();
      await has(index, 2);
      assert.ok(trouble(log) <= 1);
      await server.leave();
      await eventually(() => trouble(log) >= 1, { what: 'a line about it' });
      assert.equal(index.size, 2);
      cluster.remove('uid-a');
      await server.back();
      await has(index, 1);
    });

    it('are asked for with the token and the CA that are in the files now', async (t) => {
      const { server, cluster, index, begin } = await open(t, kind);
      cluster.put(of('a'));
      begin();
      await has(index, 1);
      server.setToken('token-2');
      cluster.put(of('b'));
      cluster.endWatches();
      await has(index, 2);
      server.replaceCa();
      cluster.put(of('c'));
      await has(index, 3);
    });

    it('are not forgotten for an answer that is no list', async (t) => {
      const { server, cluster, index, log, begin } = await open(t, kind);
      cluster.put(of('a'));
      begin();
      await has(index, 1);
      const no = document({ kind: 'Status', status: 'Failure' });
      server.behave(no, no, cluster.serve);
      cluster.endWatches();
      await eventually(() => trouble(log) === 1, { what: 'a line about it' });
      assert.equal(index.size, 1);
    });

    it('need a right, which is named to who lacks it', async (t) => {
      const { server, log, begin } = await open(t, kind);
      server.behave(document({ message: 'is forbidden' }, 403));
      begin();
      await eventually(() => trouble(log) === 1, { what: 'the line' });
      const right = { api: 'pods: list, watch', kubelet: 'nodes/pods: get' }[kind];
      assert.equal(log.lines[0]?.fields.detail, `the service account lacks ${right}`);
    });

    it('are not asked of a server that the CA does not vouch for', async (t) => {
      await using other = await startApiServer();
      const { server, log, begin } = await open(t, kind, { access: { ca: other.caFile } });
      begin();
      await eventually(() => trouble(log) === 1, { what: 'the line' });
      assert.deepEqual(server.asked, []);
    });
  });
}

describe('the kubelet', { timeout: 30_000 }, () => {
  const start = async (t: TestContext, names: string, access: Partial<AccessFiles>) => {
    const opened = await open(t, 'kubelet', { server: await startApiServer({ names }), access });
    opened.cluster.put(of('a'));
    opened.begin();
    return opened;
  };

  it('has to be that of this node, also where the CA vouches for others', async (t) => {
    const { server, log } = await start(t, 'DNS:node-2,IP:127.0.0.1', {});
    await eventually(() => trouble(log) === 1, { what: 'the line' });
    assert.match(String(log.lines[0]?.fields.reason), /node-1/);
    assert.deepEqual(server.asked, []);
  });

  it('may be of a node that is named by its address', async (t) => {
    const { index } = await start(t, 'IP:10.0.0.7', { serverName: '10.0.0.7' });
    await has(index, 1);
  });

  it('is believed whoever it is, where that was asked for', async (t) => {
    await using other = await startApiServer();
    const access = { ca: other.caFile, transport: 'unverified-tls' } as const;
    const { index } = await start(t, 'DNS:someone', access);
    await has(index, 1);
  });

  it('is shown no token at its read-only port, where everybody could read it', async (t) => {
    // That server answers 401 to whoever has one.
    const server = await startApiServer({ plain: true });
    const nowhere = { ca: '/nonexistent', token: '/nonexistent' };
    const access = { ...nowhere, transport: 'plain' } as const;
    const { cluster, index, begin } = await open(t, 'kubelet', { server, access });
    cluster.put(of('a'));
    begin();
    await has(index, 1);
  });

  it('is asked one thing at a time, however long it takes', async (t) => {
    const { server, cluster, begin } = await open(t, 'kubelet', { everyMs: 100 });
    let now = 0;
    let most = 0;
    server.behave((request, response) => {
      most = Math.max(most, ++now);
      response.once('close', () => now--);
      slowly(250, cluster.serve)(request, response);
    });
    const { source } = begin();
    await Promise.all([source.relist(), source.relist(), source.relist()]);
    await Promise.all([source.relist(), source.relist()]);
    assert.deepEqual([most, server.asked.length], [1, 2]);
  });
});

describe('a refusal that does not end', { timeout: 30_000 }, () => {
  it('is given up, so that the next question is asked', async (t) => {
    const { server } = await open(t, 'api');
    const waits: number[] = [];
    const clock = new FakeClock();
    const after = clock.after.bind(clock);
    clock.after = (delayMs, fn) => (waits.push(delayMs), after(delayMs, fn));
    const { host, port, caFile: ca, tokenFile: token } = server;
    const api = createApi(fromFiles({ host, port, ca, token }, systemClock), clock);
    t.after(() => api.close());
    server.behave((_, response) => void response.writeHead(503).write('{"message":'));
    for (const ask of [
      () => api.get('/pods', { signal }),
      () => api.lines('/pods', () => undefined, { signal, silenceMs: 1e6 }),
    ]) {
      const told = assert.rejects(ask(), { name: 'ApiRefusal', code: 503 });
      await eventually(() => waits.includes(30_000), { what: 'the refusal' });
      await clock.advance(30_000);
      await told;
      waits.length = 0;
    }
    assert.equal(clock.timers, 0);
  });
});

describe('what a kubelet lacks', { timeout: 30_000 }, () => {
  const EVERY_MS = 5000;
  /** A kubelet with a static pod and two others; `poll` has it asked once more. */
  const start = async (t: TestContext) => {
    const clock = new FakeClock();
    const opened = await open(t, 'kubelet', { clock, everyMs: EVERY_MS });
    const { cluster, index } = opened;
    cluster.putStatic(of('etcd'), 'hash');
    for (const name of ['a', 'b']) cluster.put(of(name));
    const { mirror } = opened.begin();
    await has(index, 3);
    const poll = async (times = 1) => {
      for (let n = 0; n < times; n++) {
        await clock.advance(EVERY_MS);
        await eventually(() => mirror.heardAgoMs() === 0, { what: 'an answer' });
      }
    };
    return { ...opened, poll };
  };

  it('is not gone for that it was restarted and knows static pods alone, or none', async (t) => {
    for (const unsure of ['static', 'none'] as const) {
      const { server, cluster, index, poll } = await start(t);
      const none = document({ kind: 'PodList', metadata: {}, items: null });
      server.behave(unsure === 'static' ? cluster.serveStatic : none);
      const changes: string[] = [];
      index.onChange((uid) => changes.push(uid));
      await poll(5);
      assert.equal(index.size, 3);
      assert.deepEqual(
        changes.filter((uid) => uid !== 'hash'),
        [],
      );
      // The API server is away for ten minutes besides.
      await poll(120);
      assert.ok(index.byUid('uid-a') && index.byUid('uid-b'));
      server.behave(cluster.serve);
      await poll(10);
      assert.equal(index.size, 3);
    }
  });

  it('is gone in the end when it knows static pods alone for long', async (t) => {
    const { server, cluster, index, poll } = await start(t);
    server.behave(cluster.serveStatic);
    await poll(180);
    assert.equal(index.size, 3);
    await poll();
    assert.deepEqual(
      [...index.all()].map(({ uid }) => uid),
      ['hash'],
    );
  });

  it('is gone when several answers have lacked it for half a minute', async (t) => {
    const { cluster, index, poll } = await start(t);
    cluster.remove('uid-a');
    cluster.remove('uid-etcd');
    await poll(6);
    assert.equal(index.size, 3);
    await poll();
    assert.deepEqual(
      [...index.all()].map(({ uid }) => uid),
      ['uid-b'],
    );
  });

  it('is counted anew once it was there in between', async (t) => {
    const { cluster, index, poll } = await start(t);
    cluster.remove('uid-a');
    await poll(6);
    cluster.put(of('a', { labels: { app: 'again' } }));
    await poll();
    // What is listed is taken at once.
    assert.equal(index.byUid('uid-a')?.labels.get('app'), 'again');
    cluster.remove('uid-a');
    await poll(6);
    assert.equal(index.size, 3);
  });
});

describe('a list beside the watch', () => {
  const read = (name: string, more: PodParts = {}) => of(name, more);
  const start = () => {
    const index = createPodIndex('node-1', assert.ifError);
    const mirror = createPodMirror(index, systemClock);
    mirror.replace([read('a'), read('b')]);
    return { index, mirror, beside: mirror.beside() };
  };
  const uids = (index: ReturnType<typeof createPodIndex>, ...names: string[]) =>
    names.filter((name) => index.byUid(`uid-${name}`) !== undefined);

  it('does not bring back a pod whose end was told of meanwhile', () => {
    const { index, mirror, beside } = start();
    mirror.remove(read('a'));
    mirror.put(read('c', { version: '9' }));
    beside.replace([read('a'), read('b')]);
    assert.deepEqual(uids(index, 'a', 'b', 'c'), ['b', 'c']);
  });

  it('does not give back labels that were changed meanwhile', () => {
    const { index, mirror, beside } = start();
    mirror.put(read('a', { version: '9', labels: { app: 'new' } }));
    beside.replace([read('a', { labels: { app: 'old' } }), read('b')]);
    assert.equal(index.byUid('uid-a')?.labels.get('app'), 'new');
  });

  it('says nothing once another whole list has come in between', () => {
    const { index, mirror, beside } = start();
    mirror.replace([read('b'), read('d')]);
    beside.replace([read('a'), read('b')]);
    assert.deepEqual(uids(index, 'a', 'b', 'd'), ['b', 'd']);
  });

  it('takes away and adds what the watch has yet to tell', () => {
    const { index, beside } = start();
    beside.replace([read('b'), read('e')]);
    beside.end();
    assert.deepEqual(uids(index, 'a', 'b', 'e'), ['b', 'e']);
  });
});
