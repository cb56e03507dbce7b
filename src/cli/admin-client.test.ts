import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { credence } from '../../test/support/transcript.ts';
import { askAdmin } from './admin-client.ts';

const NOBODY = 65_534;

async function listening(t: TestContext, server: Server): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'credence-admin-'));
  const path = join(folder, 'admin.sock');
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => open.add(socket.on('error', () => undefined)));
  server.listen(path);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of open) socket.destroy();
    rmSync(folder, { recursive: true });
  });
  return path;
}

describe('askAdmin()', () => {
  it('waits for the whole answer no longer than for its beginning', async (t) => {
    const clock = new FakeClock();
    const server = createServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\na');
    });
    const path = await listening(t, server);
    const asking = askAdmin(path, '/status', { clock, signal: new AbortController().signal });
    const refused = assert.rejects(asking, {
      code: 'ERR_UNREACHABLE',
      message: `cannot reach credence at ${path}: no answer within 5 s`,
      hint: 'it is there but does not answer: stopped (Ctrl-Z, SIGSTOP) or stuck',
    });
    await once(server, 'connection');
    await clock.advance(5000);
    await refused;
    assert.equal(clock.timers, 0);
  });

  it('ends when the user does not want to wait', async (t) => {
    const stop = new AbortController();
    const server = createServer(() => stop.abort());
    const path = await listening(t, server);
    await assert.rejects(askAdmin(path, '/live', { clock: new FakeClock(), signal: stop.signal }), {
      code: 'ERR_SHUTDOWN',
      message: 'interrupted',
    });
  });

  it('leaves no timer behind an answer', async (t) => {
    const clock = new FakeClock();
    const server = createServer((socket) => {
      socket.end('HTTP/1.1 503 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno');
    });
    const path = await listening(t, server);
    const { signal } = new AbortController();
    assert.deepEqual(await askAdmin(path, '/ready', { clock, signal }), { code: 503, body: 'no' });
    assert.equal(clock.timers, 0);
  });
});

describe('a command that asks the admin socket', () => {
  it('says so when it was given a public socket', async (t) => {
    const path = await listening(t, createHttp2Server());
    assert.deepEqual(await credence(['status', '--admin-socket', path]), {
      out: '',
      err:
        `credence: cannot reach credence at ${path}: this is a public socket, not an admin socket\n` +
        'hint: admin_socket_path of the configuration names the other one, --config FILE finds it\n',
      code: 69,
    });
  });

  it('says so when what answers speaks something else', async (t) => {
    const path = await listening(
      t,
      createServer((socket) => socket.end('220 mail.example\r\n')),
    );
    const { err, code } = await credence(['status', '--admin-socket', path]);
    assert.match(err, /: what answers there does not speak HTTP\n/);
    assert.equal(code, 69);
  });

  it('sends a user who may not open it to the one who may', async (t) => {
    const path = await listening(t, createServer());
    chmodSync(path, 0);
    const root = process.geteuid?.() === 0;
    if (root) {
      chmodSync(join(path, '..'), 0o755);
      process.seteuid?.(NOBODY);
    }
    try {
      assert.deepEqual(await credence(['status', '--admin-socket', path]), {
        out: '',
        err:
          `credence: cannot reach credence at ${path}: this user may not open it\n` +
          'hint: run it as the user that runs the daemon, or as root\n',
        code: 69,
      });
    } finally {
      if (root) process.seteuid?.(0);
    }
  });
});
