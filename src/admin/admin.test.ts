import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request, type IncomingHttpHeaders, type Server } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { systemClock } from '../core/clock.ts';
import type { LogFields } from '../core/log.ts';
import { silentLogger } from '../core/log.ts';
import { createAdminServer, createMetricsServer, type AdminDeps, type AdminView } from './admin.ts';

class FakeView implements AdminView {
  reasons: string[] = [];
  failure: Error | undefined;
  readonly asked: (string | undefined)[] = [];

  notReady = () => this.reasons;
  metrics = () =>
    this.failure ? Promise.reject(this.failure) : Promise.resolve('credence_sds_streams 3\n');
  status = () => ['{"prox', 'ies":[]}\n'];
  config = () => ({ trust_domain: 'example.org' });
  bundle = (trustDomain: string | undefined) => {
    this.asked.push(trustDomain);
    return trustDomain === 'unknown.example' ? undefined : { trust_domain: 'example.org' };
  };
  explain = (pid: number) => Promise.resolve(pid === 7 ? { pid } : undefined);
  explainPod = (namespace: string, name: string) => Promise.resolve({ namespace, name });
  explainSelectors = (selectors: readonly string[]) => Promise.resolve({ selectors });
  revoke: AdminView['revoke'] = () => Promise.reject(new Error('nobody asked for this'));
  bundleControl: AdminView['bundleControl'] = { set: () => undefined, delete: () => false };
  ca = () => ({ authorities: [] });
  caControl = {
    prepare: () => Promise.resolve('aa'),
    activate: () => Promise.resolve('aa'),
    taint: () => Promise.resolve('aa'),
    revoke: () => Promise.resolve('aa'),
  };
}

/** Of each server here. */
const CONNECTIONS = 8;

interface Answer {
  readonly code: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A server of the kind on a socket that goes away with the test, and how to ask it. */
async function serve(t: TestContext, create: (view: FakeView, deps: AdminDeps) => Server) {
  const folder = mkdtempSync(join(tmpdir(), 'credence-admin-'));
  const socketPath = join(folder, 'admin.sock');
  const view = new FakeView();
  const errors: LogFields[] = [];
  const warnings: LogFields[] = [];
  const server = create(view, {
    log: {
      ...silentLogger,
      error: (fields) => void errors.push(fields),
      warn: (fields) => void warnings.push(fields),
    },
    clock: systemClock,
    connections: CONNECTIONS,
  });
  server.listen(socketPath);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true });
  });
  const ask = async (path: string, method = 'GET'): Promise<Answer> => {
    const asking = request({ socketPath, path, method, agent: false }).end();
    const [response] = (await once(asking, 'response')) as [import('node:http').IncomingMessage];
    let body = '';
    for await (const part of response.setEncoding('utf8')) body += String(part);
    return { code: response.statusCode ?? 0, headers: response.headers, body };
  };
  return { view, errors, warnings, server, socketPath, ask };
}

describe('createAdminServer()', () => {
  it('is live from the start, and ready when nothing blocks', async (t) => {
    const { view, ask } = await serve(t, createAdminServer);
    view.reasons = ['starting', 'policy'];
    const live = await ask('/live');
    assert.deepEqual([live.code, live.body], [200, 'live\n']);
    const waiting = await ask('/ready');
    assert.deepEqual([waiting.code, waiting.body], [503, 'not ready: starting, policy\n']);
    view.reasons = [];
    const ready = await ask('/ready');
    assert.deepEqual([ready.code, ready.body], [200, 'ready\n']);
  });

  it('answers with documents that nobody may keep', async (t) => {
    const { ask } = await serve(t, createAdminServer);
    for (const [path, document] of [
      ['/status', { proxies: [] }],
      ['/config', { trust_domain: 'example.org' }],
      ['/ca', { authorities: [] }],
    ] as const) {
      const { code, headers, body } = await ask(path);
      assert.equal(code, 200);
      assert.equal(headers['content-type'], 'application/json');
      assert.equal(headers['cache-control'], 'no-store');
      assert.deepEqual(JSON.parse(body), document);
    }
  });

  it('writes metrics in the text format of Prometheus', async (t) => {
    const { ask } = await serve(t, createAdminServer);
    const { headers, body } = await ask('/metrics');
    assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
    assert.equal(body, 'credence_sds_streams 3\n');
  });

  it('gives the bundle that was asked for, or says that there is none', async (t) => {
    const { view, ask } = await serve(t, createAdminServer);
    assert.equal((await ask('/bundle')).code, 200);
    assert.equal((await ask('/bundle?trust_domain=partner%2Eexample')).code, 200);
    const none = await ask('/bundle?trust_domain=unknown.example');
    assert.equal(none.code, 404);
    assert.deepEqual(JSON.parse(none.body), { error: 'no bundle of unknown.example is known' });
    assert.deepEqual(view.asked, [undefined, 'partner.example', 'unknown.example']);
  });

  it('explains selectors, and refuses a list that is none', async (t) => {
    const { ask } = await serve(t, createAdminServer);
    const known = await ask('/explain?selectors=unix:uid:1,%20k8s:ns:a,unix:uid:1');
    assert.equal(known.code, 200);
    assert.deepEqual(JSON.parse(known.body), { selectors: ['unix:uid:1', 'k8s:ns:a'] });
    for (const query of ['', 'uid', 'unix:uid:1,', ',unix:uid:1', 'Unix:uid:1', 'unix:']) {
      const { code, body } = await ask(`/explain?selectors=${query}`);
      assert.equal(code, 400, query);
      assert.match(body, /"error": "invalid selector/, query);
    }
    for (const query of ['selectors=a:b&selectors=c:d', 'selectors=a:b&pid=7']) {
      assert.equal((await ask(`/explain?${query}`)).code, 400, query);
    }
  });

  it('explains one process, and tells a wrong question from an unknown process', async (t) => {
    const { ask } = await serve(t, createAdminServer);
    const known = await ask('/explain?pid=7');
    assert.deepEqual([known.code, JSON.parse(known.body)], [200, { pid: 7 }]);
    assert.equal((await ask('/explain?pid=8')).code, 404);
    for (const query of ['', '?pid=', '?pid=x', '?pid=7&pid=7', '?pid=4194305']) {
      assert.equal((await ask(`/explain${query}`)).code, 400, query);
    }
  });

  it('names its pages to who asks for another, object members included', async (t) => {
    const { ask } = await serve(t, createAdminServer);
    for (const path of ['/', '/statuss', '/constructor', '/__proto__', '/live/', '/%']) {
      const { code, body } = await ask(path);
      assert.equal(code, 404, path);
      assert.match(body, /there are \/live \/ready \/metrics/);
    }
  });

  it('changes nothing outside of /ca/: only GET and HEAD are answered', async (t) => {
    const { ask } = await serve(t, createAdminServer);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      for (const path of ['/status', '/ca', '/ready']) {
        assert.equal((await ask(path, method)).code, 405, `${method} ${path}`);
      }
    }
    const head = await ask('/live', 'HEAD');
    assert.deepEqual([head.code, head.body], [200, '']);
  });

  it('revokes for POST alone, and tells who revokes when nobody waits any more', async (t) => {
    const { view, ask, socketPath } = await serve(t, createAdminServer);
    const path = '/ca/svids/revoke?serial=4f0a';
    for (const method of ['GET', 'HEAD', 'PUT']) {
      assert.equal((await ask(path, method)).code, 405, method);
    }
    view.revoke = () =>
      Promise.resolve({ revoked: [], unknown: true, incomplete: false, nextUpdateMs: undefined });
    const { code, body } = await ask(path, 'POST');
    assert.equal(code, 200);
    assert.equal((JSON.parse(body) as { unknown_serial: boolean }).unknown_serial, true);
    assert.equal((await ask('/ca/svids/revoke?serial=zz', 'POST')).code, 400);

    const gone = new Promise<AbortSignal>((resolve) => {
      view.revoke = (_, { signal }) => {
        signal.addEventListener('abort', () => resolve(signal));
        impatient.destroy();
        return new Promise(() => undefined);
      };
    });
    const impatient = request({ socketPath, path, method: 'POST', agent: false });
    impatient.on('error', () => undefined).end();
    assert.equal((await gone).aborted, true);
  });

  it('survives a page that fails, and logs it', async (t) => {
    const { view, errors, ask } = await serve(t, createAdminServer);
    view.failure = new Error('out of paper');
    const { code, body } = await ask('/metrics');
    assert.equal(code, 500);
    assert.deepEqual(JSON.parse(body), { error: 'out of paper' });
    assert.deepEqual(errors, [{ err: view.failure }]);
    view.failure = undefined;
    assert.equal((await ask('/metrics')).code, 200);
  });

  it('survives what is not HTTP', async (t) => {
    const { errors, socketPath, ask } = await serve(t, createAdminServer);
    const garbage = connect(socketPath);
    let answered = 0;
    garbage.on('data', (part) => (answered += part.length));
    garbage.end(Buffer.from([0, 1, 2, 255, 10, 10]));
    await once(garbage, 'close');
    assert.deepEqual([answered, errors], [0, []]);
    assert.equal((await ask('/live')).code, 200);
  });

  it('goes on, and logs it, when a connection cannot be accepted', async (t) => {
    const { server, errors, ask } = await serve(t, createAdminServer);
    const thrown = Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' });
    server.emit('error', thrown);
    assert.deepEqual(errors, [{ err: thrown }]);
    assert.equal((await ask('/live')).code, 200);
  });

  it('leaves it to the caller when it cannot listen', async (t) => {
    const { socketPath } = await serve(t, createAdminServer);
    const errors: LogFields[] = [];
    const log = { ...silentLogger, error: (fields: LogFields) => void errors.push(fields) };
    const second = createAdminServer(new FakeView(), {
      log,
      clock: systemClock,
      connections: CONNECTIONS,
    });
    const failed = once(second, 'error');
    second.listen(socketPath);
    const [thrown] = (await failed) as [NodeJS.ErrnoException];
    assert.deepEqual([thrown.code, errors], ['EADDRINUSE', []]);
  });
});

describe('createMetricsServer()', () => {
  it('shows metrics and nothing else, as it may be on the network', async (t) => {
    const { ask } = await serve(t, createMetricsServer);
    assert.equal((await ask('/metrics')).code, 200);
    const others = ['/status', '/config', '/bundle', '/explain?pid=7', '/live', '/ready', '/ca'];
    for (const path of [...others, '/ca/prepare?level=root']) {
      assert.equal((await ask(path)).code, 404, path);
      assert.equal((await ask(path, 'POST')).code, 404, path);
    }
  });

  it('answers a scrape whoever holds connections open, and says so in the log', async (t) => {
    const { ask, socketPath, warnings } = await serve(t, createMetricsServer);
    const idle = Array.from({ length: 2 * CONNECTIONS }, () => connect(socketPath).resume());
    t.after(() => idle.forEach((socket) => socket.destroy()));
    await Promise.all(idle.map((socket) => once(socket, 'connect')));
    for (const socket of idle) {
      socket.on('error', () => undefined).write('GET /metrics HTTP/1.1\r\n');
    }
    assert.equal((await ask('/metrics')).code, 200);
    assert.deepEqual(warnings, [{ count: 1 }]);
  });
});
