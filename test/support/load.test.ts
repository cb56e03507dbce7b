import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { eventually } from './eventually.ts';
import { startLoad, type LoadOptions } from './load.ts';

describe('startLoad()', () => {
  it('counts every request once when some are refused, broken off or never answered', async () => {
    let seen = 0;
    const faults: RequestListener[] = [
      (_req, res) => void res.writeHead(503).end('no'),
      (req) => void req.socket.destroy(),
      (_req, res) => res.writeHead(200, { 'content-length': '9' }).write('half'),
      (_req, res) => res.writeHead(200, { 'content-length': '9' }).flushHeaders(),
    ];
    const { count } = await loadAgainst((req, res) => {
      const fault = seen < 40 ? faults[seen++ % faults.length] : undefined;
      if (fault) fault(req, res);
      else res.end('ok');
    });
    assert.equal(count.sent, count.answered + count.failures.length);
    assert.deepEqual([seen, count.failures.length], [40, 40]);
    assert.ok(count.failures.some(({ reason }) => reason === '503: no'));
    assert.ok(count.failures.some(({ reason }) => reason.startsWith('no answer within')));
  });

  it('opens a connection for each request when told to, else reuses them', async () => {
    const fresh = await loadAgainst((_req, res) => res.end('ok'), 'new');
    assert.equal(fresh.sockets, fresh.count.sent);
    assert.deepEqual(fresh.count.failures, []);
    const reused = await loadAgainst((_req, res) => res.end('ok'), 'keep-alive');
    assert.ok(reused.sockets < reused.count.sent, `${reused.sockets} connections`);
    assert.deepEqual(reused.count.failures, []);
  });
});

async function loadAgainst(
  listener: RequestListener,
  connections: LoadOptions['connections'] = 'keep-alive',
) {
  const server = createServer(listener);
  let sockets = 0;
  server.on('connection', () => sockets++);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const load = startLoad({ port, ratePerSecond: 200, connections, timeoutMs: 2000 });
  await eventually(() => load.count().sent >= 100, { what: 'a hundred requests are sent' });
  const count = await load.stop();
  server.closeAllConnections();
  server.close();
  return { count, sockets };
}
