import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { createAttestation } from '../../src/attestation/attestation.ts';
import { listenForPeers } from '../../src/attestation/listener.ts';
import { createAccountNames } from '../../src/attestation/names.ts';
import { createKernel } from '../../src/attestation/native.ts';
import { createUnixAttestor } from '../../src/attestation/unix.ts';
import { systemClock } from '../../src/core/clock.ts';
import { silentLogger } from '../../src/core/log.ts';
import { eventually } from '../support/eventually.ts';

const PATH = '/test.Who/Ask';
const raw = (bytes: Buffer) => bytes;

/** A grpc-js server behind the listener that answers each call with its peer's id. */
async function startServer(paths: (dir: string) => string[]) {
  const dir = await mkdtemp(join(tmpdir(), 'credence-lst-'));
  const attestation = createAttestation({
    mostLingering: 100,
    kernel: createKernel(),
    attestors: [createUnixAttestor({ names: createAccountNames(), executable: undefined })],
    clock: systemClock,
    log: silentLogger,
  });
  const server = new Server();
  server.addService(
    {
      Ask: {
        path: PATH,
        requestStream: false,
        responseStream: false,
        requestSerialize: raw,
        requestDeserialize: raw,
        responseSerialize: raw,
        responseDeserialize: raw,
      },
    },
    {
      Ask: (call: { getPeer(): string }, callback: (error: null, answer: Buffer) => void) =>
        callback(null, Buffer.from(call.getPeer())),
    },
  );
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const open = new Map<string, Socket>();
  const listener = await listenForPeers({
    paths: paths(dir),
    attestation,
    clock: systemClock,
    log: silentLogger,
    onConnection(socket, { id }) {
      open.set(id, socket);
      socket.once('close', () => open.delete(id));
      injector.injectConnection(socket);
    },
  });
  return {
    dir,
    open,
    async [Symbol.asyncDispose]() {
      listener.close();
      server.forceShutdown();
      attestation.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function ask(path: string): Promise<string> {
  const client = new Client(`unix:${path}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(PATH, raw, raw, Buffer.from('?'), (error, answer?: Buffer) => {
      client.close();
      if (error) reject(error);
      else resolve(answer?.toString() ?? '');
    });
  });
}

describe('listener', () => {
  it('lets a handler of grpc-js find the connection by its peer', async () => {
    await using server = await startServer((dir) => [join(dir, 'api.sock')]);
    const answers = await Promise.all([1, 2, 3].map(() => ask(join(server.dir, 'api.sock'))));
    assert.equal(new Set(answers).size, 3);
    for (const answer of answers) assert.match(answer, /^peer-\d+$/);
  });

  it('serves every path with mode 0777', async () => {
    const names = ['api.sock', 'socket', 'spire-agent.sock'];
    await using server = await startServer((dir) => names.map((name) => join(dir, name)));
    for (const name of names) {
      const path = join(server.dir, name);
      assert.match(await ask(path), /^peer-/);
      assert.equal((await stat(path)).mode & 0o7777, 0o777);
    }
  });

  it('accepts a thousand connections of the same instant and refuses none', async () => {
    await using server = await startServer((dir) => [join(dir, 'api.sock')]);
    const sockets = Array.from({ length: 1000 }, () => connect(join(server.dir, 'api.sock')));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    await eventually(() => server.open.size === 1000, { what: 'a thousand connections' });
    assert.match(await ask(join(server.dir, 'api.sock')), /^peer-/);
    for (const socket of sockets) socket.destroy();
    await eventually(() => server.open.size === 0, { what: 'all connections closed' });
  });

  for (const [what, bytes] of [
    ['HTTP/1', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['zero bytes', '\0'.repeat(4096)],
  ] as const) {
    it(`closes a connection that speaks ${what} and goes on serving`, async () => {
      await using server = await startServer((dir) => [join(dir, 'api.sock')]);
      const socket = connect(join(server.dir, 'api.sock'));
      socket.on('error', () => undefined);
      socket.resume();
      socket.write(bytes, 'latin1');
      await once(socket, 'close');
      assert.match(await ask(join(server.dir, 'api.sock')), /^peer-/);
    });
  }

  it('leaves no descriptor behind after a thousand broken connections', async () => {
    await using server = await startServer((dir) => [join(dir, 'api.sock')]);
    const path = join(server.dir, 'api.sock');
    const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
    const openings = [
      '',
      'GET / HTTP/1.1\r\n\r\n',
      preface.slice(0, 11),
      preface,
      '\xff'.repeat(99),
    ];
    await ask(path);
    const before = readdirSync('/proc/self/fd').length;
    for (let round = 0; round < 5; round++) {
      const sockets = Array.from({ length: 200 }, (_, n) => {
        const socket = connect({ path, allowHalfOpen: true }).on('error', () => undefined);
        socket.write(openings[n % openings.length] ?? '', 'latin1');
        // One half says that it has finished, the other is gone without a word.
        if (n % 2 === 0) socket.end();
        return socket.resume();
      });
      await Promise.all(sockets.map((socket) => once(socket, 'connect')));
      for (const socket of sockets) socket.destroy();
    }
    await eventually(() => server.open.size === 0, { what: 'all connections to be closed' });
    await eventually(() => readdirSync('/proc/self/fd').length <= before, {
      what: 'all descriptors to be closed',
    });
    assert.match(await ask(path), /^peer-/);
  });

  it('closes a connection whose other end will not write any more', async () => {
    await using server = await startServer((dir) => [join(dir, 'api.sock')]);
    const socket = connect({ path: join(server.dir, 'api.sock'), allowHalfOpen: true });
    socket.on('error', () => undefined);
    socket.resume();
    socket.end();
    await once(socket, 'close');
    await eventually(() => server.open.size === 0, { what: 'the connection to be closed' });
  });
});
