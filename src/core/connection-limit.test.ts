import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { eventually } from '../../test/support/eventually.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { limitConnections } from './connection-limit.ts';

const MOST = 4;

/** A server that answers `/` at once, `/later` when told, and `/large` with more than sockets hold. */
async function serve(t: TestContext) {
  const clock = new FakeClock();
  const told: number[] = [];
  const later: ServerResponse[] = [];
  const server = createServer((request, response) => {
    if (request.url === '/later') later.push(response);
    else response.end(request.url === '/large' ? Buffer.alloc(32 << 20) : 'here');
  });
  limitConnections(server, { most: MOST, clock, onFull: (count) => told.push(count) });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const clients: Socket[] = [];
  t.after(() => {
    for (const client of clients) client.destroy();
    server.close();
    server.closeAllConnections();
  });
  /** Connects, and sends a request or a part of one. */
  const open = async (text: string) => {
    const client = connect(port, '127.0.0.1').on('error', () => undefined);
    clients.push(client);
    await once(client, 'connect');
    client.write(text);
    return client;
  };
  const connections = () =>
    new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)));
  return { clock, told, later, open, connections };
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

/** What the server says until it falls silent or hangs up. */
async function answer(client: Socket): Promise<string> {
  const closed = once(client, 'close').then(() => ['']);
  const [bytes] = (await Promise.race([once(client, 'data'), closed])) as [Buffer | string];
  return bytes.toString();
}

describe('limitConnections()', () => {
  it('answers who asks, however many have connected before and ask nothing', async (t) => {
    const { open, connections, told } = await serve(t);
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 2 * MOST; n++) (await open('GET / HTTP/1.1\r\n')).resume();
      assert.match(await answer(await open(get('/'))), /^HTTP\/1\.1 200 /);
    }
    assert.ok((await connections()) <= MOST);
    assert.equal(told[0], 1);
  });

  it('cuts off the oldest that has asked nothing, not one that is being answered', async (t) => {
    const { open, later } = await serve(t);
    const asked = await open(get('/later'));
    await eventually(() => later.length === 1, { what: 'a request' });
    const idle = await open('');
    const others = await Promise.all(Array.from({ length: MOST - 2 }, () => open('')));
    const ended = once(idle.resume(), 'close');
    await open('');
    await ended;
    later[0]?.end('at last');
    assert.match(await answer(asked), /at last$/);
    assert.ok(others.every((other) => !other.destroyed));
  });

  it('cuts off who does not read its answer', async (t) => {
    const { open, connections } = await serve(t);
    for (let n = 0; n < MOST; n++) (await open(get('/large'))).pause();
    await eventually(async () => (await connections()) === MOST, { what: 'a full server' });
    assert.match(await answer(await open(get('/'))), /here$/);
  });

  it('cuts off the oldest of all when all are being answered', async (t) => {
    const { open, later } = await serve(t);
    const first = await open(get('/later'));
    await eventually(() => later.length === 1, { what: 'a request' });
    for (let n = 2; n <= MOST; n++) {
      await open(get('/later'));
      await eventually(() => later.length === n, { what: 'a request' });
    }
    const ended = once(first.resume(), 'close');
    assert.match(await answer(await open(get('/'))), /here$/);
    await ended;
  });

  it('keeps a connection that is used again', async (t) => {
    const { open } = await serve(t);
    const client = await open(get('/'));
    for (let n = 0; n < 3; n++) {
      assert.match(await answer(client), /here$/);
      client.write(get('/'));
    }
    assert.match(await answer(client), /here$/);
  });

  it('tells of it once a minute, and how many there were', async (t) => {
    const { open, told, clock } = await serve(t);
    for (let n = 0; n < MOST + 5; n++) await open('');
    await eventually(() => told.length > 0, { what: 'a word' });
    assert.match(await answer(await open(get('/'))), /here$/);
    assert.deepEqual(told, [1]);
    await clock.advance(60_000);
    assert.match(await answer(await open(get('/'))), /here$/);
    assert.deepEqual(told, [1, 6]);
  });
});
