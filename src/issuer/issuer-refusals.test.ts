import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import {
  ask,
  dataDirectory,
  type DataDirectory,
  usedDirectory,
} from '../../test/support/data-directory.ts';
import { DAY_MS, opensslVerify } from '../../test/support/issuer.ts';
import { IdentityError } from '../core/errors.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { ensurePrivateFolder } from './private-files.ts';

function refusal(code: string, ...parts: (string | RegExp)[]) {
  return (thrown: unknown) => {
    assert.ok(thrown instanceof IdentityError);
    assert.equal(thrown.code, code);
    for (const part of parts) {
      assert.ok(
        typeof part === 'string' ? thrown.message.includes(part) : part.test(thrown.message),
        thrown.message,
      );
    }
    return true;
  };
}

describe('openIssuer() on a store that is not right', () => {
  /** Refused, and not one byte of the store changed by it. */
  async function refused(data: DataDirectory, check: (thrown: unknown) => boolean, overrides = {}) {
    const read = () =>
      fs
        .readdirSync(data.dataDir, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => [entry.name, fs.readFileSync(join(entry.parentPath, entry.name), 'hex')]);
    const before = read();
    await assert.rejects(data.start(overrides), check);
    assert.deepEqual(read(), before);
  }
  const firstKey = (data: DataDirectory) => join(data.dataDir, 'keys', data.keys()[0] ?? '');

  it('refuses a folder, a key or a journal that others may reach', async (t) => {
    const data = await usedDirectory(t);
    for (const path of [data.dataDir, join(data.dataDir, 'keys'), data.journal, firstKey(data)]) {
      const { mode } = fs.statSync(path);
      fs.chmodSync(path, mode | 0o040);
      await refused(data, refusal('ERR_KEY_STORE', path, /mode 0?[67]40/));
      fs.chmodSync(path, mode);
    }
    await data.start();
  });

  it('refuses a folder of another user', async (t) => {
    if (process.getuid?.() !== 0) {
      // Only root can give one away; anybody else finds root's.
      assert.throws(() => ensurePrivateFolder('/etc'), { code: 'ERR_KEY_STORE', message: /uid 0/ });
      return;
    }
    const data = await usedDirectory(t);
    fs.chownSync(data.dataDir, 12_345, 12_345);
    await refused(data, refusal('ERR_KEY_STORE', data.dataDir, 'uid 12345'));
  });

  it('refuses a link in place of a key or a journal', async (t) => {
    const data = await usedDirectory(t);
    for (const path of [data.journal, firstKey(data)]) {
      fs.renameSync(path, `${path}.real`);
      fs.symlinkSync(`${path}.real`, path);
      await assert.rejects(data.start(), refusal('ERR_KEY_STORE', path));
      fs.renameSync(`${path}.real`, path);
    }
  });

  it('refuses a folder in place of the journal, and a journal without end', async (t) => {
    const data = await usedDirectory(t);
    fs.unlinkSync(data.journal);
    fs.mkdirSync(data.journal);
    await refused(data, refusal('ERR_KEY_STORE', data.journal, 'regular file'));
    fs.rmdirSync(data.journal);
    fs.writeFileSync(data.journal, Buffer.alloc(2_000_000), { mode: 0o600 });
    await refused(data, refusal('ERR_KEY_STORE', data.journal, '2000000 bytes'));
  });

  it('refuses a data_dir that cannot be created', async (t) => {
    const data = dataDirectory(t);
    fs.writeFileSync(data.dataDir, '');
    await assert.rejects(data.start(), refusal('ERR_DISK', data.dataDir));
  });

  it('refuses a journal that is cut short or not JSON', async (t) => {
    const data = await usedDirectory(t);
    const text = fs.readFileSync(data.journal);
    for (const damaged of [text.subarray(0, 300), Buffer.alloc(300), Buffer.alloc(0)]) {
      fs.writeFileSync(data.journal, damaged);
      await refused(data, refusal('ERR_KEY_STORE', data.journal));
    }
  });

  it('refuses to make a new root when the journal is missing but keys are there', async (t) => {
    const data = await usedDirectory(t);
    fs.unlinkSync(data.journal);
    await refused(data, refusal('ERR_KEY_STORE', data.journal, 'missing', '2 CA keys'));
  });

  it('refuses missing, empty, foreign and broken keys', async (t) => {
    const data = await usedDirectory(t);
    const foreign = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
    const otherType = generateKeyPairSync('ed25519').privateKey;
    const pem = (key: typeof foreign) => key.export({ type: 'pkcs8', format: 'pem' });
    for (const name of data.keys()) {
      const path = join(data.dataDir, 'keys', name);
      const good = fs.readFileSync(path);
      const sec1 = foreign.export({ type: 'sec1', format: 'pem' });
      for (const damaged of [
        '',
        'garbage',
        good.subarray(0, 90),
        pem(foreign),
        pem(otherType),
        sec1,
      ]) {
        fs.writeFileSync(path, damaged);
        await refused(data, refusal('ERR_KEY_STORE', path));
      }
      fs.unlinkSync(path);
      await refused(data, refusal('ERR_KEY_STORE', path, 'missing'));
      fs.writeFileSync(path, good, { mode: 0o600 });
    }
    await data.start();
  });

  it('refuses certificates that are damaged, swapped or signed by somebody else', async (t) => {
    const data = await usedDirectory(t);
    const other = await usedDirectory(t);
    type Root = { certificate: string; key_id: string };
    type Ca = { chain: string[]; key_id: string; root: string };
    type Document = { digest?: string; roots: [Root]; issuing: [Ca] };
    const read = (path: string) => JSON.parse(fs.readFileSync(path, 'utf8')) as Document;
    const good = fs.readFileSync(data.journal);
    const attempt = async (change: (document: Document) => void) => {
      const document = read(data.journal);
      change(document);
      const { digest: _, ...rest } = document;
      // As by somebody who knows what they do.
      const digest = createHash('sha256').update(JSON.stringify(rest)).digest('hex');
      fs.writeFileSync(data.journal, JSON.stringify({ ...rest, digest }));
      await refused(data, refusal('ERR_KEY_STORE', data.journal));
      fs.writeFileSync(data.journal, good);
    };
    const flip = (text: string) => {
      const bytes = Buffer.from(text, 'base64');
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
      return bytes.toString('base64');
    };
    const foreign = read(other.journal);
    const changes: ((document: Document) => void)[] = [
      ({ roots: [root] }) => (root.certificate = flip(root.certificate)),
      ({ issuing: [ca] }) => (ca.chain = ca.chain.map(flip)),
      ({ roots: [root] }) => (root.certificate = foreign.roots[0].certificate),
      ({ issuing: [ca] }) => (ca.chain = foreign.issuing[0].chain),
      ({ issuing: [ca] }) => (ca.root = foreign.issuing[0].root),
      ({ roots: [root], issuing: [ca] }) => ([root.key_id, ca.key_id] = [ca.key_id, root.key_id]),
      ({ roots: [root], issuing: [ca] }) => (ca.chain = [root.certificate]),
    ];
    for (const change of changes) await attempt(change);
    await data.start();
  });

  it('refuses another trust domain than the journal has', async (t) => {
    const data = await usedDirectory(t);
    const overrides = { trustDomain: parseTrustDomain('other.org') };
    await refused(
      data,
      refusal('ERR_KEY_STORE', data.journal, 'example.org', 'other.org'),
      overrides,
    );
  });

  it('refuses a journal of a newer credence', async (t) => {
    const data = await usedDirectory(t);
    const text = fs.readFileSync(data.journal, 'utf8').replace('"version": 2', '"version": 9');
    fs.writeFileSync(data.journal, text);
    await refused(data, refusal('ERR_KEY_STORE', data.journal, 'version 9'));
  });

  it('refuses a root from the future, with the times: the clock is wrong', async (t) => {
    const data = await usedDirectory(t);
    data.clock.jump(-34 * DAY_MS);
    await refused(data, refusal('ERR_ISSUER', 'valid from 20'));
    data.clock.jump(34 * DAY_MS);
    await data.start();
  });

  it('says so when the disk is full, and starts when it no longer is', async (t) => {
    const data = await usedDirectory(t);
    const full = `${data.journal}.tmp-${process.pid}`;
    data.clock.jump(2 * DAY_MS);
    await failingWrites(t, 'writeSync', 'ENOSPC', async () => {
      await assert.rejects(data.start(), refusal('ERR_DISK', data.dataDir, 'ENOSPC'));
    });
    assert.ok(!fs.existsSync(full));
    const issuer = await data.start();
    opensslVerify(t, issuer, await issuer.mint(ask, {}), data.clock.now());
  });
});

/** Lets calls of one function of `node:fs` fail while `run` lasts. */
async function failingWrites(
  t: TestContext,
  name: 'writeSync' | 'renameSync' | 'fsyncSync',
  code: string,
  run: () => Promise<void>,
): Promise<void> {
  const failing = t.mock.method(fs, name, () => {
    throw Object.assign(new Error(`${code}: injected`), { code });
  });
  syncBuiltinESMExports();
  try {
    await run();
  } finally {
    failing.mock.restore();
    syncBuiltinESMExports();
  }
}
