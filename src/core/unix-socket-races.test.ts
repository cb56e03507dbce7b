import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs, {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { eventually } from '../../test/support/eventually.ts';
import { systemClock } from './clock.ts';
import { IdentityError, systemCode, type ErrorCode } from './errors.ts';
import { listenOnSocket, MAX_SOCKET_PATH_BYTES, type BoundSocket } from './unix-socket.ts';

// What only comes with bad timing, long paths or an odd file system; unix-socket.test.ts has the rest.
let folder: string;
let path: string;
let servers: Server[];
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'crd-')));
  path = join(folder, 'api.sock');
  servers = [];
});
afterEach(async () => {
  for (const server of servers) {
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  }
  rmSync(folder, { recursive: true });
});

/** A server that greets with its name, bound by the code under test. */
async function bindAs(
  name: string,
  options: Partial<Parameters<typeof listenOnSocket>[1]> = {},
): Promise<BoundSocket> {
  const server = createServer((socket) => greet(socket, name));
  servers.push(server);
  return listenOnSocket(server, {
    ...{ path, mode: 0o666, folderMode: 0o755, clock: systemClock },
    ...options,
  });
}

/** A probe hangs up without listening to the greeting. */
function greet(socket: Socket, name: string): void {
  socket.on('error', () => undefined).end(name);
}

/** Who answers on the socket. */
async function greeting(at = path): Promise<string> {
  let text = '';
  const socket = connect(at).on('data', (part: Buffer) => (text += part.toString()));
  await once(socket, 'close');
  return text;
}

/** A socket file on which nobody listens any more, as a killed daemon leaves it. */
async function leaveStale(at = path): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${at}0`, resolve));
  linkSync(`${at}0`, at);
  await new Promise((resolve) => server.close(resolve));
}

async function refused(binding: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(binding, (thrown) => {
    assert.ok(thrown instanceof IdentityError, String(thrown));
    assert.equal(thrown.code, code);
    assert.match(thrown.message, message);
    return true;
  });
}

describe('two that start at once', () => {
  it('are told apart when they truly run at the same time', async () => {
    const gate = new Int32Array(new SharedArrayBuffer(8));
    const url = new URL('./unix-socket.ts', import.meta.url).href;
    const clockUrl = new URL('./clock.ts', import.meta.url).href;
    const tsx = import.meta.resolve('tsx/esm/api');
    const racers = [0, 1].map(
      (n) =>
        new Worker(RACER, {
          eval: true,
          workerData: { path, gate, tsx, url, clockUrl, name: `racer ${n}` },
        }),
    );
    const answers = () =>
      Promise.all(racers.map(async (racer) => ((await once(racer, 'message')) as [string])[0]));
    try {
      for (let round = 0; round < 100; round++) {
        const ready = answers();
        for (const racer of racers) racer.postMessage('get ready');
        await ready;
        if (round % 2 === 1) await leaveStale();
        const results = answers();
        Atomics.add(gate, 0, 1);
        Atomics.notify(gate, 0);
        const sorted = (await results).sort();
        assert.equal(sorted[0], 'ERR_ALREADY_RUNNING', `round ${round}: ${sorted.join()}`);
        assert.match(sorted[1] ?? '', /^racer/);
        assert.equal(await greeting(), sorted[1]);
        assert.deepEqual(readdirSync(folder), ['api.sock']);
        const closed = answers();
        for (const racer of racers) racer.postMessage('close');
        await closed;
      }
    } finally {
      await Promise.all(racers.map((racer) => racer.terminate()));
    }
  });

  it('leave the one that came between the look and the step in its place', async (t) => {
    await leaveStale();
    const before = servers.length;
    // Between our last look at the stale file and our rename, another daemon finishes its start.
    const { renameSync } = fs;
    const intruder = createServer((socket) => greet(socket, 'intruder'));
    await new Promise<void>((resolve) => intruder.listen(`${path}.other`, resolve));
    servers.push(intruder);
    t.mock.method(
      fs,
      'renameSync',
      (from: string, to: string) => {
        unlinkSync(path);
        linkSync(`${path}.other`, path);
        renameSync(from, to);
      },
      { times: 1 },
    );
    syncBuiltinESMExports();
    t.after(() => {
      t.mock.restoreAll();
      syncBuiltinESMExports();
    });
    await refused(bindAs('late'), 'ERR_ALREADY_RUNNING', /another credence is running/);
    assert.equal(await greeting(), 'intruder');
    assert.deepEqual(readdirSync(folder).sort(), ['api.sock', 'api.sock.other']);
    assert.equal(servers[before + 1]?.listening, false);
  });
});

/** Binds in a thread of its own when the gate opens, and tells its name or the error's code. */
const RACER = `
  const { createServer } = require('node:net');
  const { parentPort, workerData } = require('node:worker_threads');
  const { path, gate, tsx, url, clockUrl, name } = workerData;
  const loaded = import(tsx)
    .then(({ register }) => register())
    .then(() => Promise.all([import(url), import(clockUrl)]));
  let server, bound;
  parentPort.on('message', async (word) => {
    const [{ listenOnSocket }, { systemClock: clock }] = await loaded;
    if (word === 'close') {
      bound?.close();
      bound = undefined;
      const done = () => parentPort.postMessage('closed');
      return server.listening ? server.close(done) : done();
    }
    server = createServer((socket) => socket.on('error', () => undefined).end(name));
    const round = Atomics.load(gate, 0);
    parentPort.postMessage('ready');
    Atomics.wait(gate, 0, round);
    try {
      bound = await listenOnSocket(server, { path, mode: 0o666, folderMode: 0o755, clock });
      parentPort.postMessage(name);
    } catch ({ code }) {
      parentPort.postMessage(code);
    }
  });
`;

describe('a daemon that is too busy to accept', () => {
  it('keeps its socket, and the second one is told', async () => {
    const wake = new Int32Array(new SharedArrayBuffer(4));
    const busy = new Worker(BUSY, { eval: true, workerData: { path, wake } });
    await once(busy, 'message');
    const errors: string[] = [];
    const fill = Array.from({ length: 8 }, () =>
      connect(path).on('error', (error) => errors.push(systemCode(error) ?? '')),
    );
    try {
      await eventually(() => errors.includes('EAGAIN'), { what: 'a full backlog' });
      await refused(bindAs('second'), 'ERR_ALREADY_RUNNING', /another credence is running/);
    } finally {
      for (const socket of fill) socket.destroy();
      Atomics.store(wake, 0, 1);
      Atomics.notify(wake, 0);
      await busy.terminate();
    }
  });
});

/** Listens and then accepts nobody. */
const BUSY = `
  const { createServer } = require('node:net');
  const { parentPort, workerData } = require('node:worker_threads');
  createServer().listen({ path: workerData.path, backlog: 1 }, () => {
    parentPort.postMessage('listening');
    Atomics.wait(workerData.wake, 0, 0);
  });
`;

describe('an odd path', () => {
  /** A path of this many bytes whose folder exists. */
  const pathOf = (bytes: number, name: string): string => {
    const room = bytes - Buffer.byteLength(`${folder}//${name}`);
    const at = join(folder, 'f'.repeat(room), name);
    mkdirSync(dirname(at));
    assert.equal(Buffer.byteLength(at), bytes);
    return at;
  };

  for (const name of ['a', 'ab', 'api.sock', 'ü', '日本', 'a-rather-long-name-of-a-socket.sock']) {
    it(`leaves room for a temporary name beside ${name} at 107 bytes`, async () => {
      const at = pathOf(MAX_SOCKET_PATH_BYTES, name);
      const temporary: string[] = [];
      const server = createServer();
      servers.push(server);
      const listen = server.listen.bind(server);
      server.listen = ((options: { path: string }, done: () => void) => {
        temporary.push(options.path);
        return listen(options, done);
      }) as Server['listen'];
      await listenOnSocket(server, {
        ...{ path: at, mode: 0o600, folderMode: 0o700, clock: systemClock },
      });
      assert.equal(temporary.length, 1);
      assert.ok(Buffer.byteLength(temporary[0] ?? '') <= MAX_SOCKET_PATH_BYTES);
      assert.equal(dirname(temporary[0] ?? ''), dirname(at));
      assert.deepEqual(readdirSync(dirname(at)), [name]);
    });
  }

  it('is refused when relative below a folder that everybody may write', async (t) => {
    const open = join(folder, 'open');
    mkdirSync(join(open, 'own'), { recursive: true });
    chmodSync(open, 0o777);
    const before = process.cwd();
    t.after(() => process.chdir(before));
    process.chdir(join(open, 'own'));
    await refused(bindAs('x', { path: 'api.sock' }), 'ERR_SOCKET', /open .*written by everybody/);
  });

  it('is refused when it is empty', async () => {
    await refused(bindAs('x', { path: '' }), 'ERR_SOCKET', /names no file/);
  });

  it('is refused when it starts with a zero byte, a name that has no permissions', async () => {
    await refused(bindAs('x', { path: '\0credence' }), 'ERR_SOCKET', /names no file/);
  });
});

describe('a folder that would have to be made', () => {
  it('is refused, and not made, below one that everybody may write', async () => {
    chmodSync(folder, 0o777);
    const at = join(folder, 'new', 'api.sock');
    await refused(bindAs('x', { path: at }), 'ERR_SOCKET', /may be written by everybody/);
    chmodSync(folder, 0o700);
    assert.deepEqual(readdirSync(folder), []);
  });
});

describe('a file system without hard links', () => {
  for (const code of ['EPERM', 'ENOTSUP', 'ENOSYS']) {
    it(`gives the socket its name all the same when it says ${code}`, async (t) => {
      t.mock.method(fs, 'linkSync', () => {
        throw Object.assign(new Error(`${code}: link`), { code });
      });
      syncBuiltinESMExports();
      t.after(() => {
        t.mock.restoreAll();
        syncBuiltinESMExports();
      });
      await bindAs('first', { mode: 0o640 });
      assert.equal(await greeting(), 'first');
      assert.equal(statSync(path).mode & 0o7777, 0o640);
      assert.deepEqual(readdirSync(folder), ['api.sock']);
    });
  }

  it('is not what another failure is taken for', async (t) => {
    t.mock.method(fs, 'linkSync', () => {
      throw Object.assign(new Error('EIO: link'), { code: 'EIO' });
    });
    syncBuiltinESMExports();
    t.after(() => {
      t.mock.restoreAll();
      syncBuiltinESMExports();
    });
    await refused(bindAs('x'), 'ERR_SOCKET', /^cannot listen on .*api\.sock: EIO/);
    assert.deepEqual(readdirSync(folder), []);
    assert.equal(servers[0]?.listening, false);
  });
});
