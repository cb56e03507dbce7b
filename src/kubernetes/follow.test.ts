import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  document,
  events,
  listOf,
  startApiServer,
  type ApiServer,
} from '../../test/support/api-server.ts';
import { eventually } from '../../test/support/eventually.ts';
import { seededRandom } from '../../test/support/fake-random.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import { pod } from '../../test/support/pods.ts';
import { systemClock } from '../core/clock.ts';
import { fromFiles } from './access.ts';
import { createApi, type Api } from './api.ts';
import { follow } from './follow.ts';
import { createPodIndex, type PodIndex } from './pod-index.ts';
import { readPod } from './pod.ts';

const PODS = {
  path: '/api/v1/pods',
  query: 'fieldSelector=spec.nodeName%3Dnode-1',
  right: 'pods: list, watch',
};

describe('follow()', () => {
  let server: ApiServer;
  let api: Api;
  let index: PodIndex;
  let log: FakeLogger;
  let ends: AbortController;
  let ended: Promise<unknown>;

  beforeEach(async () => {
    server = await startApiServer();
    const { host, port, caFile: ca, tokenFile: token } = server;
    api = createApi(fromFiles({ host, port, ca, token }, systemClock), systemClock);
    index = createPodIndex('node-1', assert.ifError);
    log = new FakeLogger();
    ends = new AbortController();
  });
  afterEach(async () => {
    ends.abort(new Error('the end of the test'));
    await assert.rejects(ended, /the end of the test/);
    api.close();
    await server[Symbol.asyncDispose]();
  });

  function start(): void {
    const read = (object: unknown) => readPod(object) ?? assert.fail();
    const mirror = {
      replace: (objects: readonly unknown[]) => index.replace(objects.map(read)),
      put: (object: unknown) => index.put(read(object)),
      remove: (object: unknown) => index.remove(read(object).uid),
      heard: () => undefined,
    };
    const random = seededRandom();
    ended = follow(PODS, mirror, { api, clock: systemClock, random, log, signal: ends.signal });
    ended.catch(() => undefined);
  }
  const has = (...containers: string[]) =>
    eventually(
      () => {
        const found = containers.every((name) => index.find(`uid-${name}`, `id-${name}`));
        return found && index.size === containers.length;
      },
      { what: `the index has ${containers.join()}` },
    );
  const of = (name: string, version = '1') =>
    pod({ uid: `uid-${name}`, name, version, containers: [name] });

  it('lists the pods of the node and follows what becomes of them', async () => {
    server.behave(
      listOf('7', of('a'), of('b')),
      events(
        { type: 'ADDED', object: of('c', '8') },
        { type: 'DELETED', object: of('a', '9') },
        { type: 'BOOKMARK', object: { metadata: { resourceVersion: '12' } } },
      ),
    );
    start();
    await has('b', 'c');
    const [list, watch] = server.asked;
    assert.equal(list, '/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1&resourceVersion=0');
    assert.match(
      watch ?? '',
      /&resourceVersion=7&watch=true&allowWatchBookmarks=true&timeoutSeconds=(2[4-9]|3[0-6])\d$/,
    );
  });

  it('goes on from the last version when the server ends a watch, without a new list', async () => {
    const bookmark = { type: 'BOOKMARK', object: { metadata: { resourceVersion: '12' } } };
    server.behave(
      listOf('7', of('a')),
      (_, response) => void response.writeHead(200).end(`${JSON.stringify(bookmark)}\n`),
      events({ type: 'ADDED', object: of('b', '13') }),
    );
    start();
    await has('a', 'b');
    assert.equal(server.asked.length, 3);
    assert.match(server.asked[2] ?? '', /resourceVersion=12&watch=true/);
  });

  it('goes on from the last event when a watch breaks, and hears no past again', async () => {
    server.behave(
      listOf('7', of('a')),
      (_, response) => {
        const event = JSON.stringify({ type: 'ADDED', object: of('b', '13') });
        response.writeHead(200).write(`${event}\n`, () => response.destroy());
      },
      events({ type: 'ADDED', object: of('c', '14') }),
    );
    start();
    await has('a', 'b', 'c');
    assert.match(server.asked[2] ?? '', /resourceVersion=13&watch=true/);
  });

  it('pauses when each version is too old at once', async () => {
    const gone = document({ code: 410, message: 'too old' }, 410);
    const turns = Array.from({ length: 50 }, (_, n) => [listOf(String(20 + n), of('b')), gone]);
    server.behave(listOf('7', of('a')), gone, ...turns.flat());
    start();
    await has('b');
    await eventually(() => log.count('warn', 'cannot be followed') === 1, { what: 'the line' });
    assert.ok(server.asked.length <= 5, `${server.asked.length} requests`);
  });

  for (const [how, gone] of [
    ['as an event', events({ type: 'ERROR', object: { kind: 'Status', code: 410 } })],
    ['as an answer', document({ code: 410, message: 'too old' }, 410)],
  ] as const) {
    it(`lists anew when its version is too old, said ${how}`, async () => {
      server.behave(listOf('7', of('a')), gone, listOf('20', of('b')), events());
      start();
      await has('b');
      assert.match(server.asked[2] ?? '', /&resourceVersion=$/);
    });
  }

  it('joins a character that is split between two packets', async () => {
    const labels = { city: 'Zürich' };
    const line = `${JSON.stringify({ type: 'ADDED', object: pod({ uid: 'uid-a', containers: ['a'], labels }) })}\n`;
    const bytes = Buffer.from(line);
    const cut = bytes.indexOf(0xc3) + 1;
    server.behave(listOf('7'), (_, response) => {
      response.writeHead(200);
      response.write(bytes.subarray(0, cut));
      setTimeout(() => response.write(bytes.subarray(cut)), 50);
    });
    start();
    await has('a');
    assert.equal(index.byUid('uid-a')?.labels.get('city'), 'Zürich');
  });

  it('keeps what it has while the server fails, says so once, and goes on', async () => {
    server.behave(
      listOf('7', of('a')),
      document({ message: 'down' }, 503),
      (_, response) => void response.destroy(),
      (_, response) => void response.writeHead(200).end('{"type":'),
      document({ message: 'slow down' }, 429),
      events({ type: 'ADDED', object: of('b', '8') }),
    );
    start();
    await has('a', 'b');
    assert.equal(log.count('warn', 'cannot be followed'), 1);
  });

  it('reads a token anew that the server does not know', async () => {
    server.behave(listOf('7', of('a')), events());
    api.close();
    const { host, port, caFile: ca, tokenFile: token } = server;
    const access = fromFiles({ host, port, ca, token }, systemClock);
    assert.equal(access.token(), 'token-1');
    server.setToken('token-2');
    api = createApi(access, systemClock);
    start();
    await has('a');
  });

  it('names the right that is missing', async () => {
    server.behave(document({ message: 'pods is forbidden' }, 403));
    start();
    await eventually(() => log.count('warn', 'cannot be followed') === 1, { what: 'the line' });
    const [line] = log.lines;
    assert.equal(line?.fields.detail, 'the service account lacks pods: list, watch');
    assert.match(String(line.fields.reason), /pods is forbidden/);
  });

  it('takes nobody away for an answer that is no list', async () => {
    server.behave(document({ kind: 'PodList' }), listOf('7', of('a')), events());
    start();
    await has('a');
    assert.equal(log.count('warn', 'cannot be followed'), 1);
  });

  it('refuses a server that its CA does not vouch for', async () => {
    await using other = await startApiServer();
    const { host, port } = other;
    const access = fromFiles(
      { host, port, ca: server.caFile, token: server.tokenFile },
      systemClock,
    );
    api.close();
    api = createApi(access, systemClock);
    start();
    await eventually(() => log.count('warn', 'cannot be followed') === 1, { what: 'the line' });
    assert.deepEqual(other.asked, []);
  });
});
