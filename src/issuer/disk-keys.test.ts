import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { openssl, temporaryFolder } from '../../test/support/issuer.ts';
import { createDiskKeys } from './disk-keys.ts';

/** Every buffer that a file was written from or read into, with what it held then. */
function watchBuffers(t: TestContext) {
  const seen: { buffer: Buffer; held: Buffer }[] = [];
  for (const name of ['writeSync', 'readSync'] as const) {
    const original = fs[name] as (fd: number, buffer: Buffer, ...rest: unknown[]) => number;
    t.mock.method(fs, name, (fd: number, buffer: Buffer, ...rest: unknown[]) => {
      const result = original(fd, buffer, ...rest);
      seen.push({ buffer, held: Buffer.from(buffer) });
      return result;
    });
  }
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  return seen;
}

describe('createDiskKeys()', () => {
  for (const type of ['ec-p256', 'ec-p384', 'rsa-2048'] as const) {
    it(`leaves no ${type} key in the buffers that it went to disk and came back by`, async (t) => {
      const folder = join(temporaryFolder(t), 'keys');
      const seen = watchBuffers(t);
      const keys = createDiskKeys(folder);
      const made = await keys.generate(type);
      const loaded = await keys.load(made.id, type);
      assert.deepEqual(loaded.spki, made.spki);
      const secrets = seen.filter(({ held }) => held.includes('-----BEGIN PRIVATE KEY-----'));
      assert.ok(secrets.length >= 2, `${secrets.length} buffers`);
      for (const { buffer } of secrets) assert.ok(buffer.every((byte) => byte === 0));
      openssl(['pkey', '-in', join(folder, `${made.id}.pem`), '-noout', '-check']);
    });
  }

  it('wipes what it read when that is no key either', async (t) => {
    const folder = join(temporaryFolder(t), 'keys');
    const keys = createDiskKeys(folder);
    const id = '0'.repeat(40);
    fs.writeFileSync(join(folder, `${id}.pem`), 'almost a key', { mode: 0o600 });
    const seen = watchBuffers(t);
    await assert.rejects(async () => keys.load(id, 'ec-p256'), { code: 'ERR_KEY_STORE' });
    const [read] = seen;
    assert.equal(read?.held.toString(), 'almost a key');
    assert.ok(read.buffer.every((byte) => byte === 0));
  });
});
