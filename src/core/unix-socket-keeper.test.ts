import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { eventually } from '../../test/support/eventually.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import { systemClock } from './clock.ts';
import { createReadiness } from './ready.ts';
import { keepSocket, type Binding } from './unix-socket-keeper.ts';
import { listenOnSocket } from './unix-socket.ts';

/** An echo on a socket that is kept. */
async function keep(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'credence-keep-'));
  const folder = join(dir, 'run');
  const path = join(folder, 'api.sock');
  const clock = new FakeClock();
  const log = new FakeLogger();
  const readiness = createReadiness();
  const open = new Set<Socket>();
  let held: Promise<void> | undefined;
  const bind = async (): Promise<Binding> => {
    await held;
    const server = createServer((socket) => {
      open.add(socket.on('error', () => undefined));
      socket.pipe(socket);
    });
    const rest = { mode: 0o660, folderMode: 0o755, clock: systemClock };
    return { server, socket: await listenOnSocket(server, { path, ...rest }) };
  };
  const first = await bind();
  const lost = (reason: string) => readiness.block(reason);
  const close = keepSocket(first, { path, bind, lost, clock, log });
  t.after(() => {
    close();
    for (const socket of open) socket.destroy();
    rmSync(dir, { recursive: true });
  });
  const errors = () => log.lines.filter(({ level }) => level === 'error');
  /** Makes binding wait until the returned function is called. */
  const hold = () => {
    let release: () => void = () => undefined;
    held = new Promise((resolve) => (release = resolve));
    return () => release();
  };
  return { dir, folder, path, clock, log, readiness, close, errors, hold };
}

async function echo(client: Socket): Promise<string> {
  client.write('hello');
  const [bytes] = (await once(client, 'data')) as [Buffer];
  return bytes.toString();
}

async function ask(path: string): Promise<string> {
  const client = connect(path);
  const answer = await echo(client);
  client.destroy();
  return answer;
}

describe('keepSocket()', () => {
  it('puts a name back that was taken away, as it was, and keeps who is connected', async (t) => {
    const { folder, path, clock, readiness, errors } = await keep(t);
    const before = connect(path);
    assert.equal(await echo(before), 'hello');
    for (let time = 1; time <= 2; time++) {
      unlinkSync(path);
      await clock.advance(2000);
      await eventually(() => existsSync(path), { what: 'the socket is back' });
      assert.equal(await ask(path), 'hello');
      assert.equal(await echo(before), 'hello');
      assert.equal(lstatSync(path).mode & 0o777, 0o660);
      await eventually(() => errors().length === time, { what: 'a line for each time' });
    }
    assert.deepEqual(readdirSync(folder), ['api.sock']);
    assert.deepEqual(readiness.reasons(), []);
    before.destroy();
  });

  it('makes the folder again, too', async (t) => {
    const { folder, path, clock } = await keep(t);
    rmSync(folder, { recursive: true });
    await clock.advance(2000);
    await eventually(() => existsSync(path), { what: 'the socket is back' });
    assert.equal(await ask(path), 'hello');
  });

  it('leaves alone what stands in its place, says so once, and comes when that is gone', async (t) => {
    const { path, clock, readiness, errors, log } = await keep(t);
    unlinkSync(path);
    writeFileSync(path, 'a note');
    await clock.advance(10_000);
    assert.ok(lstatSync(path).isFile());
    const why = 'something else stands in its place';
    assert.deepEqual(readiness.reasons(), [`the socket ${path} is no longer there: ${why}`]);
    assert.deepEqual(
      errors().map(({ fields }) => fields),
      [{ path, reason: why }],
    );
    unlinkSync(path);
    await clock.advance(2000);
    await eventually(() => readiness.reasons().length === 0, { what: 'ready' });
    assert.equal(await ask(path), 'hello');
    assert.deepEqual([errors().length, log.count('info', 'put back')], [1, 1]);
  });

  it('is not ready while the name cannot be put back, and is again when it can', async (t) => {
    const { dir, folder, path, clock, readiness, errors } = await keep(t);
    rmSync(folder, { recursive: true });
    writeFileSync(folder, 'no folder');
    await clock.advance(10_000);
    await eventually(() => readiness.reasons().length === 1, { what: 'not ready' });
    assert.match(readiness.reasons().join(), /^the socket .* is no longer there: /);
    assert.equal(errors().length, 1);
    renameSync(folder, join(dir, 'aside'));
    await clock.advance(2000);
    await eventually(() => readiness.reasons().length === 0, { what: 'ready' });
    assert.equal(await ask(path), 'hello');
  });

  it('knows its file after touch, and when it is moved away and back', async (t) => {
    const { path, clock, readiness, errors, log } = await keep(t);
    utimesSync(path, 1, 1);
    await clock.advance(2000);
    assert.deepEqual(errors(), []);
    renameSync(path, `${path}.aside`);
    writeFileSync(path, '');
    await clock.advance(2000);
    assert.equal(readiness.reasons().length, 1);
    renameSync(`${path}.aside`, path);
    await clock.advance(2000);
    assert.deepEqual([readiness.reasons(), log.count('info', 'there again')], [[], 1]);
    assert.equal(await ask(path), 'hello');
  });

  it('leaves no socket and no timer behind, in the middle of putting it back too', async (t) => {
    const { folder, path, clock, close, hold } = await keep(t);
    unlinkSync(path);
    const release = hold();
    await clock.advance(2000);
    close();
    release();
    await clock.advance(10_000);
    assert.deepEqual([readdirSync(folder), clock.timers], [[], 0]);
  });
});
