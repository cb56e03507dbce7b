import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ask, dataDirectory, usedDirectory } from '../../test/support/data-directory.ts';
import {
  DAY_MS,
  issuerConfig,
  issuerDeps,
  openssl,
  opensslVerify,
} from '../../test/support/issuer.ts';
import { openIssuer } from './issuer.ts';

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
    // The old CA is kept: that the clock is right is not known yet.
    assert.deepEqual(types(), ['ec-p256', 'ec-p384', 'ec-p256']);
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
