import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { temporaryFolder } from '../../test/support/issuer.ts';
import { readUpstreamFiles } from './upstream-files.ts';

const KEY = 'the key';
const MOST_BYTES = 262_144;

function write(t: TestContext) {
  const folder = temporaryFolder(t);
  const files = {
    certFile: join(folder, 'tls.crt'),
    keyFile: join(folder, 'tls.key'),
    bundleFile: join(folder, 'ca.crt'),
  };
  writeFileSync(files.certFile, 'a certificate', { mode: 0o644 });
  writeFileSync(files.keyFile, KEY, { mode: 0o400 });
  writeFileSync(files.bundleFile, 'a root', { mode: 0o644 });
  return files;
}

/** Reads, remembers where to, and then lets something happen. */
function watched(after: (text: string) => void = () => undefined) {
  const seen: Uint8Array[] = [];
  const readOnce = (fd: number, into: Uint8Array) => {
    const size = readSync(fd, into);
    const part = into.subarray(0, size);
    if (size > 0) seen.push(part);
    after(Buffer.from(part).toString());
    return size;
  };
  const keys = () => seen.filter((part) => Buffer.from(part).toString() === KEY);
  return { readOnce, seen, keys };
}

describe('readUpstreamFiles()', () => {
  it('reads the three', (t) => {
    const { certs, key, bundle } = readUpstreamFiles(write(t));
    assert.deepEqual([certs, key, bundle].map(String), ['a certificate', KEY, 'a root']);
  });

  it('leaves nothing of the key when another file is no good', (t) => {
    for (const name of ['certFile', 'bundleFile'] as const) {
      const files = write(t);
      rmSync(files[name]);
      const { readOnce, keys } = watched();
      assert.throws(() => readUpstreamFiles(files, readOnce), { code: 'ERR_KEY_STORE' });
      assert.deepEqual(keys(), []);
    }
  });

  it('leaves nothing of the key when a file goes away behind it', (t) => {
    const files = write(t);
    const { readOnce, seen, keys } = watched((text) => {
      if (text === KEY) rmSync(files.bundleFile, { force: true });
    });
    assert.throws(() => readUpstreamFiles(files, readOnce), { code: 'ERR_KEY_STORE' });
    assert.ok(seen.length > 2);
    assert.deepEqual(keys(), []);
  });

  it('leaves nothing of a key that cannot be read to its end', (t) => {
    const { readOnce, keys } = watched((text) => {
      if (text === KEY) throw new Error('EIO');
    });
    assert.throws(() => readUpstreamFiles(write(t), readOnce), { message: /tls\.key: EIO/ });
    assert.deepEqual(keys(), []);
  });

  it('reads no more of a file that grows than it would have taken', (t) => {
    const files = write(t);
    const { readOnce, seen } = watched((text) => {
      if (text.startsWith('a cert')) appendFileSync(files.certFile, 'x'.repeat(4 * MOST_BYTES));
    });
    assert.throws(() => readUpstreamFiles(files, readOnce), {
      code: 'ERR_KEY_STORE',
      message: /tls\.crt: it grows while it is read, at most 262144 bytes are expected/,
    });
    assert.equal(
      seen.reduce((sum, { length }) => sum + length, 0),
      MOST_BYTES + 1,
    );
  });

  it('refuses what is too large, a pipe and a device without waiting for them', (t) => {
    const files = write(t);
    writeFileSync(files.bundleFile, 'x'.repeat(MOST_BYTES + 1));
    const tooLarge = /ca\.crt: it has 262145 bytes, at most 262144 are expected/;
    assert.throws(() => readUpstreamFiles(files), { message: tooLarge });
    rmSync(files.bundleFile);
    execFileSync('mkfifo', [files.bundleFile]);
    const noFile = /: it is not a regular file/;
    assert.throws(() => readUpstreamFiles(files), { message: noFile });
    const device = { ...files, bundleFile: '/dev/zero' };
    assert.throws(() => readUpstreamFiles(device), { message: noFile });
  });
});
