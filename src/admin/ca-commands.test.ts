import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { FakeLogger } from '../../test/support/issuer.ts';
import { systemClock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { silentLogger } from '../core/log.ts';
import { createAdminServer, type AdminView } from './admin.ts';
import { CA_COMMANDS, runCaCommand, type CaControl } from './ca-commands.ts';

const ID = 'ab12'.repeat(10);

/** Does whatever it is told, and remembers that. */
class FakeControl implements CaControl {
  readonly asked: (readonly unknown[])[] = [];
  readonly signals: AbortSignal[] = [];
  failure: Error | undefined;
  /** What an answer waits for. */
  wait: Promise<void> = Promise.resolve();

  prepare = (level: string, { signal }: { signal: AbortSignal }) =>
    this.#answer(signal, ['prepare', level]);
  activate = (level: string, { signal, force }: { signal: AbortSignal; force: boolean }) =>
    this.#answer(signal, ['activate', level, force]);
  taint = (name: string, { signal }: { signal: AbortSignal }) =>
    this.#answer(signal, ['taint', name]);
  revoke = (name: string, { signal, force }: { signal: AbortSignal; force: boolean }) =>
    this.#answer(signal, ['revoke', name, force]);

  async #answer(signal: AbortSignal, what: readonly unknown[]): Promise<string> {
    this.asked.push(what);
    this.signals.push(signal);
    await this.wait;
    signal.throwIfAborted();
    if (this.failure) throw this.failure;
    return ID;
  }
}

/** The admin socket in front of it; the test's end takes it away. */
async function serve(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'credence-admin-'));
  const socketPath = join(folder, 'admin.sock');
  const control = new FakeControl();
  const log = new FakeLogger();
  const view: AdminView = {
    notReady: () => [],
    metrics: () => Promise.resolve(''),
    status: () => [],
    config: () => ({}),
    bundle: () => ({}),
    explain: () => Promise.resolve(undefined),
    explainPod: () => Promise.resolve({}),
    explainSelectors: () => Promise.resolve({}),
    ca: () => ({}),
    caControl: control,
    bundleControl: { set: () => undefined, delete: () => false },
    revoke: () => Promise.reject(new Error('not asked for here')),
  };
  const server = createAdminServer(view, { log, clock: systemClock, connections: 8 });
  server.listen(socketPath);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true });
  });
  const begin = (path: string, method = 'POST'): ClientRequest =>
    request({ socketPath, path, method, agent: false }).end();
  const ask = async (path: string, method?: string) => {
    const [response] = (await once(begin(path, method), 'response')) as [IncomingMessage];
    let body = '';
    for await (const part of response.setEncoding('utf8')) body += String(part);
    return { code: response.statusCode ?? 0, document: JSON.parse(body) as unknown };
  };
  return { control, log, begin, ask };
}

describe('POST /ca/…', () => {
  it('does what it is told and answers with the name of the authority', async (t) => {
    const { control, ask, log } = await serve(t);
    for (const [path, expected] of [
      ['/ca/prepare?level=root', ['prepare', 'root']],
      ['/ca/prepare?level=issuing', ['prepare', 'issuing']],
      ['/ca/activate?level=issuing', ['activate', 'issuing', false]],
      ['/ca/activate?level=root&force=true', ['activate', 'root', true]],
      ['/ca/activate?force=false&level=root', ['activate', 'root', false]],
      [`/ca/taint?authority=${ID}`, ['taint', ID]],
      ['/ca/revoke?authority=ab12', ['revoke', 'ab12', false]],
      ['/ca/revoke?authority=ab12&force=true', ['revoke', 'ab12', true]],
    ] as const) {
      log.lines.length = 0;
      assert.deepEqual(await ask(path), { code: 200, document: { authority: ID } }, path);
      assert.deepEqual(control.asked.splice(0), [expected]);
      assert.equal(log.count('info', 'changed by hand'), 1);
    }
  });

  it('takes its parameters and no others, each of them once', async (t) => {
    const { control, ask } = await serve(t);
    for (const path of [
      '/ca/prepare',
      '/ca/prepare?level=',
      '/ca/prepare?level=all',
      '/ca/prepare?level=root&force=true',
      '/ca/prepare?level=root&level=root',
      '/ca/activate?level=root&force=',
      '/ca/activate?level=root&force=yes',
      '/ca/activate?level=root&__proto__=x',
      '/ca/taint',
      '/ca/taint?authority=abc',
      '/ca/taint?authority=ABCD',
      '/ca/taint?authority=ab12%0a',
      `/ca/taint?authority=${'a'.repeat(129)}`,
      '/ca/taint?authority=ab12&authority=cd34',
      '/ca/taint?authority=ab12&force=true',
      '/ca/revoke?force=true',
    ]) {
      assert.equal((await ask(path)).code, 400, path);
    }
    assert.deepEqual(control.asked, []);
  });

  it('is done by POST alone, and nothing else is there', async (t) => {
    const { control, ask } = await serve(t);
    for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
      assert.equal((await ask('/ca/prepare?level=root', method)).code, 405, method);
    }
    for (const path of ['/ca/', '/ca/prepare/', '/ca/create', '/ca/constructor', '/ca/PREPARE']) {
      assert.equal((await ask(path)).code, 404, path);
    }
    assert.deepEqual(control.asked, []);
  });

  it('says why it cannot be, and whether it can be later', async (t) => {
    const { control, ask, log } = await serve(t);
    for (const [code, status] of [
      ['ERR_ISSUER', 409],
      ['ERR_NOT_READY', 503],
      ['ERR_SHUTDOWN', 503],
      ['ERR_DISK', 500],
    ] as const) {
      control.failure = new IdentityError(code, 'the reason');
      const answer = await ask('/ca/activate?level=root');
      assert.deepEqual(answer, { code: status, document: { error: 'the reason' } });
    }
    assert.equal(log.count('error', 'admin request failed'), 1);
  });

  it('gives up when whoever asked has gone, and does not take that for a failure', async (t) => {
    const { control, begin, log } = await serve(t);
    let go: (() => void) | undefined;
    control.wait = new Promise((resolve) => (go = resolve));
    const asking = begin('/ca/activate?level=root').on('error', () => undefined);
    while (control.signals.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const [signal] = control.signals;
    assert.ok(signal);
    assert.equal(signal.aborted, false);
    const aborted = once(signal, 'abort');
    asking.destroy();
    await aborted;
    assert.equal((signal.reason as IdentityError).code, 'ERR_PEER_GONE');
    go?.();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(log.count('error', ''), 0);
  });

  it('is not given up by an answer that was read', async (t) => {
    const { control, ask } = await serve(t);
    await ask('/ca/prepare?level=root');
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(control.signals[0]?.aborted, false);
  });
});

describe('runCaCommand()', () => {
  it('never does more than it was told, whatever the query', async () => {
    const { signal } = new AbortController();
    const part = fc.constantFrom('level', 'root', 'force', 'true', 'authority', 'ab12', '=', '&');
    const query = fc.oneof(
      fc.string(),
      fc.array(fc.oneof(part, fc.string({ maxLength: 3 }))).map((parts) => parts.join('')),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...CA_COMMANDS), query, async (path, text) => {
        const control = new FakeControl();
        const params = new URLSearchParams(text);
        const answer = await runCaCommand(path, params, { control, log: silentLogger, signal });
        assert.equal(answer.code, control.asked.length === 1 ? 200 : 400);
        for (const [what, subject, force = false] of control.asked) {
          assert.equal(`/ca/${String(what)}`, path);
          assert.ok([params.get('level'), params.get('authority')].includes(String(subject)));
          assert.equal(force, params.get('force') === 'true');
        }
      }),
    );
  });
});
