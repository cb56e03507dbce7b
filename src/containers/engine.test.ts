import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { eventually } from '../../test/support/eventually.ts';
import { answer, inspected, startEngine, type FakeEngine } from '../../test/support/engine.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { AskFault } from '../core/socket-fault.ts';
import { inspect } from './engine.ts';

const ID = 'ab'.repeat(32);
const ignored = () => undefined;
const OWN = process.getuid?.() ?? 0;

describe('inspect()', () => {
  let engine: FakeEngine;
  let clock: FakeClock;
  beforeEach(async () => {
    engine = await startEngine();
    clock = new FakeClock();
  });
  afterEach(() => engine[Symbol.asyncDispose]());

  const ask = (
    options: {
      path?: string;
      uid?: number;
      below?: string;
      peerUid?: () => number;
      signal?: AbortSignal;
      told?: (path: string, why: AskFault | undefined) => void;
    } = {},
  ) => {
    const { path = engine.socketPath, uid, signal = new AbortController().signal } = options;
    const deps = { clock, peerUid: options.peerUid ?? (() => 0), told: options.told ?? ignored };
    const users = uid === undefined ? undefined : { uid, below: options.below ?? tmpdir() };
    return inspect({ path, users, mostBytes: 64 * 1024 }, ID, deps, { signal });
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

  it('tells of an engine that is not there or hangs up, and not of what it says of one container', async () => {
    const all: (AskFault | undefined)[] = [];
    const told = (_: string, why: AskFault | undefined) => void all.push(why);
    const asked = async (...behaviour: Parameters<FakeEngine['behave']>) => {
      engine.behave(...behaviour);
      await ask({ told }).catch(ignored);
      return all.splice(0);
    };
    const long = inspected({ id: ID, labels: { a: 'x'.repeat(70_000) } });
    const another = inspected({ id: 'cd'.repeat(32) });
    assert.deepEqual(await asked(answer({}, 500)), [undefined]);
    assert.deepEqual(await asked(answer(long)), [undefined]);
    assert.deepEqual(await asked(answer(another)), [undefined]);
    const [cut] = await asked((_, response) => void response.destroy());
    assert.equal(cut?.isMute, true);
    await ask({ told, path: '/nowhere/engine.sock' }).catch(ignored);
    assert.deepEqual(all, [{ reason: 'there is no such socket', isMute: false }]);
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
    const other = (OWN + 1) % 65536;
    // By its file, and by who answers there.
    await assert.rejects(ask({ uid: other, peerUid: () => other }), refused(/not a socket of uid/));
    await assert.rejects(ask({ uid: OWN, peerUid: () => other }), refused(/not a socket of uid/));
    assert.equal(engine.asked.length, 0);
    const { selectors } = await ask({ uid: OWN, peerUid: () => OWN });
    assert.equal(selectors.length, 1);
  });

  it("follows no link in a user's folder, asks no file system there but the kernel's", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'credence-engine-'));
    t.after(() => rmSync(folder, { recursive: true }));
    symlinkSync(engine.socketPath, join(folder, 'file.sock'));
    symlinkSync(dirname(engine.socketPath), join(folder, 'folder'));
    symlinkSync(dirname(engine.socketPath), `${folder}/x`);
    const owned = { uid: OWN, peerUid: () => OWN };
    for (const [path, below, why] of [
      [join(folder, 'file.sock'), tmpdir(), /symbolic link/],
      [join(folder, 'folder/docker.sock'), tmpdir(), /symbolic link/],
      [join(folder, 'x/docker.sock'), folder, /symbolic link/],
      ['/proc/1/docker.sock', '/proc', /file system of the kind proc/],
      ['/sys/kernel/docker.sock', '/sys', /file system of the kind sysfs/],
      [join(folder, 'nobody.sock'), tmpdir(), /there is no such socket/],
    ] as const) {
      await assert.rejects(ask({ ...owned, path, below }), refused(why), path);
    }
    assert.equal(engine.asked.length, 0);
    assert.equal(clock.timers, 0);
  });

  it('may find the socket right below the folder that is not in its hands', async () => {
    engine.behave(answer(inspected({ id: ID })));
    await ask({ uid: OWN, peerUid: () => OWN, below: dirname(engine.socketPath) });
    assert.equal(engine.asked.length, 1);
  });

  /** What an engine writes when asked, again and again for as long as it is listened to. */
  for (const [what, head, again, why] of [
    ['that answers for the time being', '', 'HTTP/1.1 102 Processing\r\n\r\n', /its answer/],
    ['whose headers do not end', 'HTTP/1.1 200 OK\r\n', 'a: b\r\n', /cannot ask/],
    [
      'whose chunks have one byte',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n',
      '1;x=yyyyyyyyyy\r\na\r\n',
      /more than 65536 bytes/,
    ],
    [
      'whose trailers do not end',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n',
      'a: b\r\n',
      /cannot ask/,
    ],
  ] as const) {
    it(`hears an engine no longer than it has to ${what}`, async () => {
      let sent = 0;
      engine.behave(({ socket }) => {
        socket.on('error', () => undefined).write(head);
        const portion = again.repeat(100);
        const more = () => {
          while (!socket.destroyed && socket.write(portion)) sent += portion.length;
        };
        socket.on('drain', more);
        more();
      });
      // On a clock that stands still: no deadline ends it.
      await assert.rejects(ask(), refused(why));
      assert.ok(sent < 2e6, `${sent} bytes were taken`);
      assert.equal(clock.timers, 0);
    });
  }

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
