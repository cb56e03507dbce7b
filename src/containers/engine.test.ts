import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { eventually } from '../../test/support/eventually.ts';
import { answer, inspected, startEngine, type FakeEngine } from '../../test/support/engine.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { IdentityError } from '../core/errors.ts';
import { inspect } from './engine.ts';

const ID = 'ab'.repeat(32);

describe('inspect()', () => {
  let engine: FakeEngine;
  let clock: FakeClock;
  beforeEach(async () => {
    engine = await startEngine();
    clock = new FakeClock();
  });
  afterEach(() => engine[Symbol.asyncDispose]());

  const ask = (
    options: { path?: string; uid?: number; peerUid?: () => number; signal?: AbortSignal } = {},
  ) => {
    const { path = engine.socketPath, uid, signal = new AbortController().signal } = options;
    const deps = { clock, peerUid: options.peerUid ?? (() => 0) };
    return inspect({ path, uid, mostBytes: 64 * 1024 }, ID, deps, { signal });
  };
  const refused = (message: RegExp) => (thrown: unknown) => {
    assert.ok(thrown instanceof IdentityError, String(thrown));
    assert.equal(thrown.code, 'ERR_ATTESTATION');
    assert.match(thrown.message, message);
    return true;
  };

  it('asks for the container by its id', async () => {
    engine.behave(answer(inspected({ id: ID, labels: { app: 'web' }, pid: 7 })));
    const { selectors, initPid } = await ask();
    assert.deepEqual(selectors, ['docker:label:app:web', 'docker:image_id:web:1']);
    assert.equal(initPid, 7);
    assert.deepEqual(engine.asked, [`/containers/${ID}/json`]);
    assert.equal(clock.timers, 0);
  });

  for (const [what, code, message] of [
    ['no such container', 404, /knows no such container/],
    ['an error', 500, /status 500/],
    ['a redirect', 307, /status 307/],
    ['a success that is none', 204, /status 204/],
  ] as const) {
    it(`fails on ${what}`, async () => {
      engine.behave((_, response) => {
        response.writeHead(code, { location: '/elsewhere' }).end();
      });
      await assert.rejects(ask(), refused(message));
      assert.equal(engine.asked.length, 1);
    });
  }

  it('fails on what is no JSON', async () => {
    engine.behave((_, response) => void response.writeHead(200).end('<html>'));
    await assert.rejects(ask(), refused(/does not answer in JSON/));
  });

  it('reads no more than the bound of an answer of 100 MB', async () => {
    let sent = 0;
    const portion = Buffer.alloc(64 * 1024, 'a');
    engine.behave((_, response) => {
      response.writeHead(200);
      const more = () => {
        while (sent < 100e6 && response.write(portion)) sent += portion.length;
      };
      response.on('drain', more);
      more();
    });
    await assert.rejects(ask(), refused(/more than 65536 bytes/));
    assert.ok(sent < 10e6, `${sent} bytes were taken`);
  });

  it('gives up an engine that does not answer, or not to the end', async () => {
    for (const begun of [false, true]) {
      let closed = false;
      engine.behave((request, response) => {
        request.socket.once('close', () => (closed = true));
        if (begun) response.writeHead(200).write(`{"Id":"${ID}",`);
      });
      const asking = ask();
      const told = assert.rejects(asking, refused(/no answer within 5 s/));
      await eventually(() => engine.asked.length === (begun ? 2 : 1), { what: 'the question' });
      await clock.advance(5000);
      await told;
      await eventually(() => closed, { what: 'the end of the connection' });
    }
  });

  it('fails when the engine hangs up in the middle', async () => {
    engine.behave((request, response) => {
      response.writeHead(200, { 'content-length': '1000' }).write('{');
      setImmediate(() => request.socket.destroy());
    });
    await assert.rejects(ask(), refused(/cannot ask the engine at/));
  });

  it('fails on what is no HTTP', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'credence-engine-'));
    const server = createServer((socket) => socket.on('error', () => undefined).end('SSH-2.0\r\n'));
    server.listen(join(folder, 'other.sock'));
    await once(server, 'listening');
    t.after(() => {
      server.close();
      rmSync(folder, { recursive: true });
    });
    await assert.rejects(ask({ path: join(folder, 'other.sock') }), refused(/cannot ask/));
  });

  it('says when nobody is there', async () => {
    await assert.rejects(ask({ path: '/nowhere/docker.sock' }), refused(/there is no such socket/));
    await engine.close();
    await assert.rejects(ask(), refused(/there is no such socket|nobody listens there/));
  });

  it("asks nothing of a socket that is not the user's", async () => {
    engine.behave(answer(inspected({ id: ID })));
    await assert.rejects(ask({ uid: 1000, peerUid: () => 0 }), refused(/not a socket of uid 1000/));
    assert.equal(engine.asked.length, 0);
    const { selectors } = await ask({ uid: 1000, peerUid: () => 1000 });
    assert.equal(selectors.length, 1);
  });

  it('ends with the reason it was given', async () => {
    const reason = new IdentityError('ERR_SHUTDOWN', 'over');
    const closing = new AbortController();
    engine.behave(() => undefined);
    const asking = ask({ signal: closing.signal });
    const told = assert.rejects(asking, reason);
    await eventually(() => engine.asked.length === 1, { what: 'the question' });
    closing.abort(reason);
    await told;
    await assert.rejects(ask({ signal: closing.signal }), reason);
    assert.equal(clock.timers, 0);
  });
});
