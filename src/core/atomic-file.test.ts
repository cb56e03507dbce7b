import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs, {
  chmodSync,
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { writeFileAtomic } from './atomic-file.ts';
import { IdentityError } from './errors.ts';
import { systemRandom } from './random.ts';

const NOBODY = 65_534;

/** Reads without a pause until it is told to end, then tells what it saw. */
const READER = `
  const { readFileSync } = require('node:fs');
  const { parentPort, workerData } = require('node:worker_threads');
  const seen = new Set();
  parentPort.postMessage('reading');
  do {
    const text = readFileSync(workerData.path, 'utf8');
    seen.add(text.length + ' ' + [...new Set(text)].join(''));
  } while (Atomics.load(workerData.flag, 0) === 0);
  parentPort.postMessage([...seen]);
`;

describe('writeFileAtomic()', () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'credence-atomic-'));
    path = join(folder, 'journal.json');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const mode = () => statSync(path).mode & 0o7777;
  const refused = (write: () => void, message: RegExp) =>
    assert.throws(write, (thrown) => {
      assert.ok(thrown instanceof IdentityError && thrown.cause instanceof Error);
      assert.equal(thrown.code, 'ERR_DISK');
      assert.match(thrown.message, message);
      return true;
    });
  /** Runs `fn` as somebody who may not write what belongs to root or is read-only. */
  const unprivileged = (fn: () => void) => {
    const root = process.geteuid?.() === 0;
    if (root) process.seteuid?.(NOBODY);
    try {
      fn();
    } finally {
      if (root) process.seteuid?.(0);
    }
  };

  for (const [what, data] of [
    ['a text', 'grüße\n'],
    ['bytes', Uint8Array.of(0, 255, 10)],
    ['nothing', ''],
    ['a megabyte', Buffer.alloc(1 << 20, 'x')],
  ] as const) {
    it(`writes ${what}, alone in the folder`, () => {
      writeFileAtomic(path, data, 0o600);
      assert.deepEqual(readFileSync(path), Buffer.from(data));
      assert.deepEqual(readdirSync(folder), ['journal.json']);
    });
  }

  it('gives a new file the mode', () => {
    writeFileAtomic(path, 'x', 0o600);
    assert.equal(mode(), 0o600);
  });

  it('gives the mode to a file that was more open before', () => {
    writeFileSync(path, 'old');
    chmodSync(path, 0o666);
    writeFileAtomic(path, 'new', 0o600);
    assert.deepEqual([mode(), readFileSync(path, 'utf8')], [0o600, 'new']);
  });

  it('leaves the old bytes to whoever has the file open', () => {
    writeFileSync(path, 'old');
    const fd = openSync(path, 'r');
    writeFileAtomic(path, 'new', 0o600);
    assert.equal(readFileSync(fd, 'utf8'), 'old');
    closeSync(fd);
    assert.equal(readFileSync(path, 'utf8'), 'new');
  });

  it('gives exactly the mode, whatever the umask takes or leaves', () => {
    const before = process.umask(0o077);
    try {
      writeFileAtomic(path, 'x', 0o644);
      assert.equal(mode(), 0o644);
      process.umask(0);
      writeFileAtomic(path, 'x', 0o600);
      assert.equal(mode(), 0o600);
    } finally {
      process.umask(before);
    }
  });

  it('neither follows nor removes what stands at the name of its temporary file', (t) => {
    const victim = join(folder, 'victim');
    writeFileSync(victim, 'untouched');
    t.mock.method(systemRandom, 'bytes', () => Buffer.from([0, 0, 0, 0, 0, 7]));
    const temporary = `${path}.tmp-7`;
    symlinkSync(victim, temporary);
    refused(() => writeFileAtomic(path, 'secret', 0o600), /EEXIST/);
    assert.equal(readFileSync(victim, 'utf8'), 'untouched');
    assert.deepEqual(readdirSync(folder).sort(), ['journal.json.tmp-7', 'victim']);
  });

  it('takes a name that nobody can know for its temporary file', (t) => {
    const names = new Set<string>();
    t.mock.method(fs, 'renameSync', (from: string) => names.add(from));
    syncBuiltinESMExports();
    try {
      for (let n = 0; n < 20; n++) writeFileAtomic(path, 'x', 0o600);
    } finally {
      t.mock.restoreAll();
      syncBuiltinESMExports();
    }
    assert.equal(names.size, 20);
    for (const name of names) assert.match(name, /^.*journal\.json\.tmp-\d+$/);
  });

  it('replaces a link at the path, and leaves alone what it leads to', () => {
    const victim = join(folder, 'victim');
    writeFileSync(victim, 'untouched');
    symlinkSync(victim, path);
    writeFileAtomic(path, 'new', 0o600);
    assert.equal(readFileSync(victim, 'utf8'), 'untouched');
    assert.ok(lstatSync(path).isFile());
  });

  it('shows a reader the old bytes or the new ones, never a part or none', async () => {
    const write = (letter: string) => writeFileAtomic(path, letter.repeat(1 << 16), 0o600);
    write('a');
    const flag = new Int32Array(new SharedArrayBuffer(4));
    const reader = new Worker(READER, { eval: true, workerData: { path, flag } });
    await once(reader, 'message');
    for (let n = 0; n < 100; n++) write(n % 2 === 0 ? 'b' : 'a');
    Atomics.store(flag, 0, 1);
    const [seen] = (await once(reader, 'message')) as [string[]];
    assert.ok(seen.length > 0);
    assert.ok(
      seen.every((text) => text === '65536 a' || text === '65536 b'),
      seen.join(),
    );
  });

  it('leaves the old bytes and nothing else when the folder is missing', () => {
    refused(
      () => writeFileAtomic(join(folder, 'missing', 'x'), 'new', 0o600),
      /^cannot write .*missing\/x: ENOENT/,
    );
    assert.deepEqual(readdirSync(folder), []);
  });

  it('leaves a folder in its place alone', () => {
    mkdirSync(path);
    writeFileSync(join(path, 'inside'), 'kept');
    refused(() => writeFileAtomic(path, 'new', 0o600), /^cannot write .*journal\.json: /);
    assert.deepEqual(readdirSync(folder), ['journal.json']);
    assert.equal(readFileSync(join(path, 'inside'), 'utf8'), 'kept');
  });

  it('leaves the old bytes where it may not write', () => {
    writeFileSync(path, 'old');
    chmodSync(folder, 0o555);
    unprivileged(() => refused(() => writeFileAtomic(path, 'new', 0o600), /EACCES/));
    chmodSync(folder, 0o755);
    assert.equal(readFileSync(path, 'utf8'), 'old');
    assert.deepEqual(readdirSync(folder), ['journal.json']);
  });

  it('leaves the old bytes when only a part of the new ones can be written', () => {
    writeFileSync(path, 'old');
    const url = new URL('./atomic-file.ts', import.meta.url).href;
    const program = `import(${JSON.stringify(url)}).then(({ writeFileAtomic }) => {
      try {
        writeFileAtomic(${JSON.stringify(path)}, 'x'.repeat(1 << 20), 0o600);
      } catch ({ code, message }) {
        console.log(code, message);
      }
    });`;
    // A limit on the size of files stops the write in its middle, as a full disk does.
    const args = ['-c', 'ulimit -f 128; exec "$0" --import tsx -e "$1"', process.execPath, program];
    const { stdout } = spawnSync('sh', args, { timeout: 30_000 });
    assert.match(stdout.toString(), /^ERR_DISK cannot write .*journal\.json: EFBIG/);
    assert.equal(readFileSync(path, 'utf8'), 'old');
    assert.deepEqual(readdirSync(folder), ['journal.json']);
  });

  it('never puts what it writes into the error', () => {
    refused(
      () => writeFileAtomic(join(folder, 'missing', 'x'), 'a secret', 0o600),
      /^(?!.*a secret)/,
    );
  });
});
