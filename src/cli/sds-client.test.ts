import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { secretDiscoveryService } from '../sds/service.ts';
import { fetchSecrets } from './sds-client.ts';

const NOBODY = 65_534;
const signal = new AbortController().signal;
/** An empty frame of SETTINGS: a server that speaks HTTP/2. */
const SETTINGS_FRAME = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

function socketIn(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'credence-fetch-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'api.sock');
}

/** A server that treats every connection in its own way. */
async function listening(t: TestContext, treat: (socket: Socket) => void): Promise<string> {
  const path = socketIn(t);
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket.on('error', () => undefined));
    treat(socket);
  }).listen(path);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  return path;
}

const fetching = (path: string, nowMs = Date.now()) => fetchSecrets(path, { nowMs, signal });

describe('fetchSecrets()', () => {
  it('cannot reach anybody where no socket is, or none that listens', async (t) => {
    const path = socketIn(t);
    await assert.rejects(fetching(path), {
      code: 'ERR_UNREACHABLE',
      message: `cannot reach credence at ${path}: there is no such socket`,
    });
    writeFileSync(path, '');
    await assert.rejects(fetching(path), {
      code: 'ERR_UNREACHABLE',
      message: `cannot reach credence at ${path}: nobody listens on it`,
    });
  });

  for (const [when, treat] of [
    ['at once', (socket) => socket.destroy()],
    ['by something else than HTTP/2', (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ] as const satisfies [string, (socket: Socket) => void][]) {
    it(`has reached nobody when the connection is closed ${when}`, async (t) => {
      const path = await listening(t, treat);
      await assert.rejects(fetching(path), {
        code: 'ERR_UNREACHABLE',
        message: `cannot reach credence at ${path}: it closed the connection without an answer`,
      });
    });
  }

  it('has reached nobody when the connection is lost after the request', async (t) => {
    const path = socketIn(t);
    const server = createHttp2Server().on('stream', (stream) => stream.session?.destroy());
    server.listen(path);
    await once(server, 'listening');
    t.after(() => server.close());
    await assert.rejects(fetching(path), {
      code: 'ERR_UNREACHABLE',
      message: `cannot reach credence at ${path}: it closed the connection without an answer`,
    });
  });

  it('has reached nobody who answers in time', async (t) => {
    const path = await listening(t, (socket) => socket.write(SETTINGS_FRAME));
    // Asked long ago, so that its ten seconds are over.
    await assert.rejects(fetching(path, 0), {
      code: 'ERR_UNREACHABLE',
      message: `cannot reach credence at ${path}: no answer within 10 s`,
      hint: 'it is there but does not answer: stopped (Ctrl-Z, SIGSTOP) or stuck',
    });
  });

  it('sends a user whom a folder shuts out to that folder', async (t) => {
    const path = await listening(t, () => undefined);
    const folder = dirname(path);
    const root = process.geteuid?.() === 0;
    chmodSync(folder, root ? 0o700 : 0);
    if (root) process.seteuid?.(NOBODY);
    try {
      await assert.rejects(fetching(path), {
        code: 'ERR_UNREACHABLE',
        message: `cannot reach credence at ${path}: this user may not open it`,
        hint: `it, or a folder above it, is closed to this user: namei -l ${path}`,
      });
    } finally {
      if (root) process.seteuid?.(0);
      chmodSync(folder, 0o700);
    }
  });

  it('hands on what the daemon answered, whichever status it has', async (t) => {
    const path = socketIn(t);
    const server = new Server();
    t.after(() => server.forceShutdown());
    const answers = [
      { code: status.UNAVAILABLE, details: 'No connection established: credence is shutting down' },
      { code: status.PERMISSION_DENIED, details: 'no policy entry' },
    ];
    const refuse = () => assert.fail('not asked');
    server.addService(secretDiscoveryService({ maxNames: 10, maxNameBytes: 100 }), {
      FetchSecrets: (_: unknown, done: (error: object) => void) => done(answers[0] ?? {}),
      StreamSecrets: refuse,
      DeltaSecrets: refuse,
    });
    await new Promise<void>((resolve, reject) =>
      server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      ),
    );
    for (; answers.length > 0; answers.shift()) {
      const { code, details } = answers[0] ?? {};
      await assert.rejects(fetching(path), {
        code: 'ERR_DENIED',
        message: `credence answered ${status[code ?? 0]}: ${details}`,
      });
    }
  });

  it('takes nothing for a secret that is none', async (t) => {
    const path = socketIn(t);
    const server = new Server();
    t.after(() => server.forceShutdown());
    const unasked = () => assert.fail('not asked');
    server.addService(secretDiscoveryService({ maxNames: 10, maxNameBytes: 100 }), {
      // A response with one resource (field 2) whose value (field 2) is no message.
      FetchSecrets: (_: unknown, done: (error: null, answer: Buffer) => void) =>
        done(null, Buffer.from([0x12, 3, 0x12, 1, 0xff])),
      StreamSecrets: unasked,
      DeltaSecrets: unasked,
    });
    await new Promise<void>((resolve, reject) =>
      server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      ),
    );
    await assert.rejects(fetching(path), {
      code: 'ERR_DENIED',
      message: 'credence sent something that is not a secret',
    });
  });

  it('ends when the user does not want to wait', async (t) => {
    const path = await listening(t, (socket) => socket.write(SETTINGS_FRAME));
    const stop = new AbortController();
    const waiting = fetchSecrets(path, { nowMs: Date.now(), signal: stop.signal });
    setImmediate(() => stop.abort());
    await assert.rejects(waiting, { code: 'ERR_SHUTDOWN', message: 'interrupted' });
    await assert.rejects(fetchSecrets(path, { nowMs: Date.now(), signal: stop.signal }), {
      code: 'ERR_SHUTDOWN',
    });
  });
});
