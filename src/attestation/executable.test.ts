import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once, setMaxListeners } from 'node:events';
import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { IdentityError } from '../core/errors.ts';
import { createExecutableReader } from './executable.ts';
import { programAt } from './program.ts';

const signal = new AbortController().signal;
// All who wait in these tests share it.
setMaxListeners(0, signal);
const PROGRAM = readFileSync(realpathSync('/bin/sleep'));
const MEGABYTE = 1024 ** 2;

describe('createExecutableReader()', () => {
  const folder = mkdtempSync(join(tmpdir(), 'credence-exe-'));
  const path = join(folder, 'program');
  const children: ChildProcess[] = [];

  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });
  after(() => rmSync(folder, { recursive: true }));

  /** Puts a program that sleeps in place, with some bytes at its end that do nothing. */
  function install(tail: Buffer): string {
    const content = Buffer.concat([PROGRAM, tail]);
    writeFileSync(`${path}.new`, content);
    chmodSync(`${path}.new`, 0o755);
    renameSync(`${path}.new`, path);
    return createHash('sha256').update(content).digest('hex');
  }

  async function start() {
    const child = spawn(path, ['60'], { stdio: 'ignore' });
    children.push(child);
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    const credentials = { pid, uid: 0, gid: 0 };
    return { credentials, executableLink: `/proc/${pid}/exe`, hasExited: () => false };
  }

  it('gives the path and the SHA-256 of the file that runs', async () => {
    const sha256 = install(Buffer.from('one'));
    const peer = await start();
    const { program, ...said } = await createExecutableReader()(peer, { signal });
    assert.deepEqual(said, { path, sha256 });
    assert.equal(program, programAt(peer.executableLink));
  });

  it('hashes what runs, not what has taken its place on disk since', async () => {
    const read = createExecutableReader();
    const old = install(Buffer.from('old'));
    const peer = await start();
    const recent = install(Buffer.from('new'));
    const successor = await start();
    const [first, second] = [await read(peer, { signal }), await read(successor, { signal })];
    assert.deepEqual([first.path, first.sha256], [`${path} (deleted)`, old]);
    assert.deepEqual([second.path, second.sha256], [path, recent]);
    assert.notEqual(first.program, second.program);
  });

  it('reads the content once for all processes that run it', async () => {
    install(Buffer.alloc(16 * MEGABYTE));
    const read = createExecutableReader();
    const peers = [await start(), await start()];
    const before = bytesRead();
    const first = await Promise.all(peers.map((peer) => read(peer, { signal })));
    const between = bytesRead();
    assert.ok(between - before >= 16 * MEGABYTE, 'the first look reads the file');
    assert.ok(between - before < 24 * MEGABYTE, 'two looks at once read it once');
    assert.deepEqual(await read(await start(), { signal }), first[0]);
    assert.ok(bytesRead() - between < MEGABYTE, 'a later look does not read it again');
  });

  it('refuses a file that is larger than the limit, naming both numbers', async () => {
    install(Buffer.alloc(MEGABYTE));
    const peer = await start();
    const read = createExecutableReader({ maxBytes: MEGABYTE });
    await assert.rejects(read(peer, { signal }), {
      code: 'ERR_ATTESTATION',
      message: /has \d+ bytes, at most 1048576 are hashed$/,
    });
  });

  it('refuses a process that ended while its executable was opened', async () => {
    install(Buffer.from('ended'));
    const peer = { ...(await start()), hasExited: () => true };
    await assert.rejects(createExecutableReader()(peer, { signal }), { code: 'ERR_PEER_GONE' });
  });

  it('fails when the executable cannot be opened, and looks again the next time', async () => {
    const sha256 = install(Buffer.from('again'));
    const peer = await start();
    const read = createExecutableReader();
    const unreadable = { ...peer, executableLink: join(folder, 'missing') };
    await assert.rejects(read(unreadable, { signal }), {
      code: 'ERR_ATTESTATION',
      message: /ENOENT/,
    });
    assert.equal((await read(peer, { signal })).sha256, sha256);
  });

  it('gives up on a file system that does not answer, with the reason', async () => {
    const fifo = join(folder, 'fifo');
    assert.equal(spawnSync('mkfifo', [fifo]).status, 0);
    const sha256 = install(Buffer.from('answers'));
    const peer = await start();
    const clock = new FakeClock();
    const read = createExecutableReader({ clock });
    const stuck = assert.rejects(read({ ...peer, executableLink: fifo }, { signal }), {
      code: 'ERR_ATTESTATION',
      message: /cannot be read: it took longer than 30 s$/,
    });
    const other = { ...peer, credentials: { ...peer.credentials, uid: 7 } };
    assert.equal((await read(other, { signal })).sha256, sha256, 'another user has another place');
    await clock.advance(30_000);
    await stuck;
    assert.equal(clock.timers, 0);
    // Lets the thread go that waits for a writer.
    closeSync(openSync(fifo, 'r+'));
    assert.equal((await read(peer, { signal })).sha256, sha256);
  });

  it('goes on for the others when the process it began for has ended', async () => {
    const sha256 = install(Buffer.alloc(64 * MEGABYTE));
    const read = createExecutableReader();
    const peer = await start();
    const ends = new AbortController();
    const reason = new IdentityError('ERR_PEER_GONE', 'the process has ended');
    const first = assert.rejects(read(peer, { signal: ends.signal }), reason);
    const other = { ...peer, credentials: { ...peer.credentials, uid: 7 } };
    const second = read(other, { signal });
    const before = bytesRead();
    while (bytesRead() - before < MEGABYTE) await new Promise((resolve) => setImmediate(resolve));
    ends.abort(reason);
    await first;
    assert.equal((await second).sha256, sha256);
  });

  it('keeps the event loop turning while it hashes', async () => {
    install(Buffer.alloc(64 * MEGABYTE));
    const peer = await start();
    let turns = 0;
    let hashing = true;
    const count = () => {
      turns++;
      if (hashing) setImmediate(count);
    };
    setImmediate(count);
    await createExecutableReader()(peer, { signal });
    hashing = false;
    assert.ok(turns >= 128, `${turns} turns in 64 MiB`);
  });

  it('serves many at once, refused ones among them, and keeps no descriptor', async () => {
    install(Buffer.alloc(MEGABYTE));
    const peer = await start();
    const unreadable = { ...peer, executableLink: join(folder, 'missing') };
    const read = createExecutableReader();
    await read(peer, { signal });
    const before = readdirSync('/proc/self/fd').length;
    const looks = Array.from({ length: 200 }, (_, n) =>
      read(n % 2 === 0 ? peer : unreadable, { signal }),
    );
    const settled = await Promise.allSettled(looks);
    assert.equal(settled.filter(({ status }) => status === 'fulfilled').length, 100);
    assert.equal(readdirSync('/proc/self/fd').length, before);
  });
});

/** Bytes this process has read in its life. */
function bytesRead(): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'latin1'))?.[1]);
}
