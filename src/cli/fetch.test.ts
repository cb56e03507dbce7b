import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { credence } from '../../test/support/transcript.ts';
import { fetch } from './fetch.ts';

async function listening(t: TestContext, server: Server): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'credence-fetch-'));
  const path = join(folder, 'api.sock');
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

/** Fetches from a server that never answers, for `waitMs`, and returns what that printed. */
async function impatient(
  t: TestContext,
  { isTTY, json, waitMs }: { isTTY: boolean; json: boolean; waitMs: number },
): Promise<{ path: string; err: string }> {
  const path = await listening(t, createServer());
  const clock = new FakeClock(Date.now());
  const stop = new AbortController();
  let err = '';
  const running = fetch({ socket: path, json }, ['x509'], {
    out: () => assert.fail('there is no result'),
    err: (text) => void (err += text),
    isTTY,
    screen: undefined,
    env: {},
    exists: () => false,
    clock,
    signal: stop.signal,
  });
  const ended = assert.rejects(running, { code: 'ERR_SHUTDOWN' });
  while (clock.timers === 0) await new Promise(setImmediate);
  await clock.advance(waitMs);
  stop.abort();
  await ended;
  assert.equal(clock.timers, 0);
  return { path, err };
}

describe('credence fetch', () => {
  it('says on a terminal what it waits for, once it takes longer than a moment', async (t) => {
    const early = await impatient(t, { isTTY: true, json: false, waitMs: 999 });
    assert.equal(early.err, '');
    const { path, err } = await impatient(t, { isTTY: true, json: false, waitMs: 1000 });
    assert.equal(
      err,
      `waiting for credence at ${path} to attest this process and to sign, 10 s at most\n`,
    );
  });

  it('says nothing of waiting to a script', async (t) => {
    for (const how of [
      { isTTY: false, json: false },
      { isTTY: true, json: true },
    ]) {
      assert.equal((await impatient(t, { ...how, waitMs: 5000 })).err, '');
    }
  });

  it('says so when it was given an admin socket', async (t) => {
    const admin = createHttpServer((_, response) => response.end('live\n'));
    admin.on('clientError', (_, socket) => socket.destroy());
    const path = await listening(t, admin);
    assert.deepEqual(await credence(['fetch', 'x509', '--socket', path]), {
      out: '',
      err:
        `credence: cannot reach credence at ${path}: this is an admin socket, not a public socket\n` +
        'hint: socket_path of the configuration names the other one, --config FILE finds it\n',
      code: 69,
    });
  });
});
