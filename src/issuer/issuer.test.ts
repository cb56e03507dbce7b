import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import {
  DAY_MS,
  HOUR_MS,
  issuerConfig,
  issuerDeps,
  openssl,
  opensslVerify,
  temporaryFolder,
  WEB,
} from '../../test/support/issuer.ts';
import { IdentityError } from '../core/errors.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { openIssuer, type IssuerConfig } from './issuer.ts';
import { ensurePrivateFolder } from './private-files.ts';

const ask = { id: WEB, dnsNames: [] };

/** A data directory and how to start on it, as often as wanted. */
function dataDirectory(t: TestContext) {
  const dataDir = join(temporaryFolder(t), 'data');
  const deps = issuerDeps();
  return {
    dataDir,
    ...deps,
    journal: join(dataDir, 'journal.json'),
    keys: () => fs.readdirSync(join(dataDir, 'keys')).sort(),
    async start(overrides: Partial<IssuerConfig> = {}) {
      const config = issuerConfig({ dataDir, keyManager: 'disk', ...overrides });
      const issuer = await openIssuer(config, deps);
      t.after(() => issuer.close());
      return issuer;
    },
  };
}

type DataDirectory = ReturnType<typeof dataDirectory>;

/** Starts once, so that there is something to damage. */
async function usedDirectory(t: TestContext): Promise<DataDirectory> {
  const data = dataDirectory(t);
  (await data.start()).close();
  return data;
}

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

describe('openIssuer() on disk', () => {
  it('makes everything with modes that keep others out', async (t) => {
    const data = await usedDirectory(t);
    const mode = (path: string) => (fs.statSync(path).mode & 0o777).toString(8);
    assert.equal(mode(data.dataDir), '700');
    assert.equal(mode(join(data.dataDir, 'keys')), '700');
    assert.equal(mode(data.journal), '600');
    assert.equal(data.keys().length, 2);
    for (const name of data.keys()) assert.equal(mode(join(data.dataDir, 'keys', name)), '600');
  });

  it('continues with the same authorities and bundle, so that no SVID becomes invalid', async (t) => {
    const data = dataDirectory(t);
    const first = await data.start();
    const before = await first.mint(ask, {});
    const [authorities, bundle] = [first.authorities(), first.bundle()];
    first.close();
    const second = await data.start();
    assert.deepEqual(second.authorities(), authorities);
    assert.deepEqual(second.bundle(), bundle);
    opensslVerify(t, second, before);
    opensslVerify(t, second, await second.mint(ask, {}));
  });

  it('continues without loading the X.509 library, which a quick start cannot afford', async (t) => {
    const data = await usedDirectory(t);
    const config = JSON.stringify(issuerConfig({ dataDir: data.dataDir, keyManager: 'disk' }));
    const script = `
      import { openIssuer } from ${JSON.stringify(new URL('issuer.ts', import.meta.url).href)};
      import { systemClock } from ${JSON.stringify(new URL('../core/clock.ts', import.meta.url).href)};
      import { systemRandom } from ${JSON.stringify(new URL('../core/random.ts', import.meta.url).href)};
      import { silentLogger } from ${JSON.stringify(new URL('../core/log.ts', import.meta.url).href)};
      const deps = { clock: systemClock, random: systemRandom, log: silentLogger };
      const issuer = await openIssuer(${config}, deps);
      const { serial } = await issuer.mint(${JSON.stringify(ask)}, {});
      issuer.close();
      console.log(serial.length, 'getMetadata' in Reflect);
    `;
    const args = ['--import', 'tsx', '--input-type=module', '--eval', script];
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    assert.equal(stdout, '32 false\n', stderr);
  });

  it('keeps PKCS#8 keys that openssl reads, and no key in the journal', async (t) => {
    const data = await usedDirectory(t);
    for (const name of data.keys()) {
      openssl(['pkey', '-in', join(data.dataDir, 'keys', name), '-noout', '-check']);
    }
    assert.doesNotMatch(fs.readFileSync(data.journal, 'utf8'), /PRIVATE/);
  });

  it('replaces an issuing CA that expired while it was down, under the same root', async (t) => {
    const data = await usedDirectory(t);
    const old = data.keys();
    data.clock.jump(2 * DAY_MS);
    const issuer = await data.start();
    const svid = await issuer.mint(ask, {});
    opensslVerify(t, issuer, svid, data.clock.now());
    assert.equal(data.keys().filter((name) => old.includes(name)).length, 1);
    assert.equal(data.keys().length, 2);
  });

  it('replaces an issuing CA from the future, after a clock that ran ahead', async (t) => {
    const data = dataDirectory(t);
    (await data.start()).close();
    data.clock.jump(2 * DAY_MS);
    (await data.start()).close();
    data.clock.jump(-DAY_MS);
    const issuer = await data.start();
    const svid = await issuer.mint(ask, {});
    opensslVerify(t, issuer, svid, data.clock.now());
  });

  it('takes other CA settings for the next issuing CA and leaves the present ones', async (t) => {
    const data = await usedDirectory(t);
    const issuer = await data.start({ caKeyType: 'ec-p384' });
    const types = () => issuer.authorities().map(({ keyType }) => keyType);
    assert.deepEqual(types(), ['ec-p256', 'ec-p256']);
    data.clock.jump(2 * DAY_MS);
    await issuer.mint(ask, {});
    assert.deepEqual(types(), ['ec-p256', 'ec-p384']);
  });

  it('prunes keys no journal names and cut-off writes, and leaves what is not its own', async (t) => {
    const data = await usedDirectory(t);
    const kept = data.keys();
    const put = (name: string) => fs.writeFileSync(join(data.dataDir, name), 'x', { mode: 0o600 });
    put(`keys/${'ab'.repeat(20)}.pem`);
    put(`keys/${'ab'.repeat(20)}.pem.tmp-77`);
    put('journal.json.tmp-77');
    put('keys/notes.txt');
    await data.start();
    assert.deepEqual(data.keys(), [...kept, 'notes.txt'].sort());
    assert.deepEqual(fs.readdirSync(data.dataDir).sort(), ['journal.json', 'keys']);
  });
});

describe('openIssuer() in memory', () => {
  it('touches no disk, and makes another root with a later bundle each time', async () => {
    const deps = issuerDeps();
    const first = await openIssuer(issuerConfig(), deps);
    deps.clock.jump(1000);
    const second = await openIssuer(issuerConfig(), deps);
    assert.ok(!fs.existsSync(issuerConfig().dataDir));
    assert.notDeepEqual(first.authorities(), second.authorities());
    assert.ok(second.bundle().sequence > first.bundle().sequence);
    first.close();
    second.close();
  });
});

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
    type Document = { authorities: { certificate: string; key_id: string }[] };
    const read = (path: string) => JSON.parse(fs.readFileSync(path, 'utf8')) as Document;
    const good = fs.readFileSync(data.journal);
    const attempt = async (change: (document: Document) => void) => {
      const document = read(data.journal);
      change(document);
      fs.writeFileSync(data.journal, JSON.stringify(document));
      await refused(data, refusal('ERR_KEY_STORE', data.journal));
      fs.writeFileSync(data.journal, good);
    };
    const flip = (text: string) => {
      const bytes = Buffer.from(text, 'base64');
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
      return bytes.toString('base64');
    };
    const foreign = read(other.journal).authorities;
    for (const index of [0, 1]) {
      await attempt(({ authorities }) => {
        const entry = authorities[index];
        if (entry) entry.certificate = flip(entry.certificate);
      });
      await attempt(({ authorities }) => {
        const entry = authorities[index];
        if (entry) entry.certificate = foreign[index]?.certificate ?? '';
      });
    }
    await attempt(({ authorities: [root, issuing] }) => {
      if (root && issuing) [root.key_id, issuing.key_id] = [issuing.key_id, root.key_id];
    });
    await attempt(({ authorities: [root, issuing] }) => {
      if (root && issuing) issuing.certificate = root.certificate;
    });
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
    const text = fs.readFileSync(data.journal, 'utf8').replace('"version": 1', '"version": 9');
    fs.writeFileSync(data.journal, text);
    await refused(data, refusal('ERR_KEY_STORE', data.journal, 'version 9'));
  });

  it('refuses an expired root, and one from the future, with the times', async (t) => {
    const data = await usedDirectory(t);
    data.clock.jump(366 * DAY_MS);
    await refused(data, refusal('ERR_ISSUER', 'expired at 20'));
    data.clock.jump(-400 * DAY_MS);
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

const EFFECTS = [
  'mkdirSync',
  'openSync',
  'writeSync',
  'fsyncSync',
  'renameSync',
  'unlinkSync',
] as const;

/**
 * Runs until the call `at` of those that change the disk, and lets nothing touch the disk from
 * there on: what kill -9 leaves. Half of a write may have been done. Says whether it came so far.
 */
async function dieAtCall(
  t: TestContext,
  at: number,
  run: () => Promise<unknown>,
): Promise<boolean> {
  let calls = 0;
  const mocks = EFFECTS.map((name) => {
    const original = fs[name] as (...args: unknown[]) => unknown;
    return t.mock.method(fs, name, (...args: unknown[]) => {
      if (name === 'openSync' && args[1] !== 'w') return original(...args);
      if (++calls < at) return original(...args);
      const [fd, bytes, offset] = args;
      if (calls === at && name === 'writeSync' && bytes instanceof Uint8Array) {
        original(fd, bytes, offset, bytes.length >> 1);
      }
      throw new Error('killed');
    });
  });
  syncBuiltinESMExports();
  try {
    await run();
  } catch {
    // What the dying process would have said; calls tells whether it died.
  } finally {
    for (const mock of mocks) mock.mock.restore();
    syncBuiltinESMExports();
  }
  return calls >= at;
}

describe('a process that is killed', () => {
  const rootOf = (journal: string): string | undefined => {
    if (!fs.existsSync(journal)) return undefined;
    const document = JSON.parse(fs.readFileSync(journal, 'utf8')) as {
      authorities: { certificate: string }[];
    };
    return document.authorities[0]?.certificate;
  };

  it('at any write of the first start, is followed by one that signs', async (t) => {
    let at = 1;
    for (; ; at++) {
      const data = dataDirectory(t);
      if (!(await dieAtCall(t, at, () => data.start()))) break;
      const made = rootOf(data.journal);
      const issuer = await data.start();
      if (made) assert.equal(rootOf(data.journal), made, `another root after call ${at}`);
      opensslVerify(t, issuer, await issuer.mint(ask, {}));
      assert.equal(data.keys().length, 2, `keys left over after call ${at}`);
    }
    // Two folders, three journals, two keys; four calls or more each.
    assert.ok(at > 20, `${at} calls`);
  });

  it('at any write of a replacement, leaves the root and every SVID valid', async (t) => {
    let at = 1;
    for (; ; at++) {
      const data = dataDirectory(t);
      const before = await data.start();
      const svid = await before.mint({ ...ask, ttlMs: DAY_MS }, {});
      const root = rootOf(data.journal);
      before.close();
      data.clock.jump(DAY_MS - HOUR_MS / 2);
      const restarted = await data.start();
      const died = await dieAtCall(t, at, async () => {
        await data.clock.advance(HOUR_MS);
        await restarted.mint(ask, {});
      });
      restarted.close();
      if (!died) break;
      const after = await data.start();
      assert.equal(rootOf(data.journal), root);
      opensslVerify(t, after, svid, svid.notBeforeMs + HOUR_MS);
      opensslVerify(t, after, await after.mint(ask, {}), data.clock.now());
      assert.equal(data.keys().length, 2, `keys left over after call ${at}`);
    }
    assert.ok(at > 8, `${at} calls`);
  });
});
