import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { createDaemon, entryForMe, type Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { FakeLogger, issuerConfig, opensslVerify, WEB } from '../support/issuer.ts';
import { measureTurns } from '../support/loop-turns.ts';
import { softTokens, type SoftTokens } from '../support/soft-token.ts';
import { systemClock } from '../../src/core/clock.ts';
import { systemRandom } from '../../src/core/random.ts';
import { openIssuer } from '../../src/issuer/issuer.ts';
import type { KeyType } from '../../src/issuer/key-type.ts';
import {
  openTokenKeys,
  type TokenKeys,
  type TokenKeysConfig,
} from '../../src/pkcs11/token-keys.ts';
import { startTokenProcess } from '../../src/pkcs11/token-process.ts';

const ID = 'spiffe://example.org/web';
const TOKEN = 'credence';

/** A folder with a token and the right PIN, for one test. */
function bench(t: TestContext) {
  const dir = mkdtempSync('/tmp/credence-hsm-');
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  // The daemon makes its sockets here, which proxies of other users pass to.
  chmodSync(dir, 0o755);
  const soft = softTokens(dir);
  soft.add(TOKEN);
  const pin = (text: string) => writeFileSync(join(dir, 'pin'), `${text}\n`, { mode: 0o600 });
  pin('1234');
  process.env['SOFTHSM2_CONF'] = soft.env.SOFTHSM2_CONF;
  t.after(() => delete process.env['SOFTHSM2_CONF']);
  return { dir, soft, pin };
}

function daemonOn(
  dir: string,
  soft: SoftTokens,
  more: Readonly<Record<string, unknown>> = {},
): Promise<Daemon> {
  const pkcs11 = { module: soft.module, token_label: TOKEN, pin_file: join(dir, 'pin'), ...more };
  const issuer = { x509_svid_ttl: '1h', key_manager: { type: 'pkcs11', pkcs11 } };
  return createDaemon({ dir, entries: [entryForMe(ID)], settings: { issuer } });
}

async function fetched(daemon: Daemon): Promise<{ leaf: X509Certificate; root: string }> {
  const [svid] = await daemon.fetchX509();
  assert.ok(svid);
  const leaf = new X509Certificate(svid.cert);
  const [, issuing = ''] = svid.cert.split(/(?<=-----END CERTIFICATE-----\n)/);
  const root = new X509Certificate(svid.bundle);
  assert.ok(leaf.verify(new X509Certificate(issuing).publicKey));
  assert.ok(new X509Certificate(issuing).verify(root.publicKey));
  return { leaf, root: root.fingerprint256 };
}

describe('the daemon with its keys in SoftHSM2', () => {
  it('makes its root on the token and finds it again after a restart', async (t) => {
    const { dir, soft } = bench(t);
    await using daemon = await daemonOn(dir, soft);
    await daemon.start();
    const first = await fetched(daemon);
    assert.deepEqual(
      readdirSync(join(dir, 'data')).filter((name) => name === 'keys'),
      [],
    );
    await daemon.stop();
    await daemon.start();
    const again = await fetched(daemon);
    assert.equal(again.root, first.root);
    await daemon.stop('SIGKILL');
    await daemon.start();
    assert.equal((await fetched(daemon)).root, first.root);
    const objects = soft.tool(TOKEN, '--list-objects', '--type', 'privkey');
    assert.equal(objects.match(/Private Key Object/g)?.length, 2);
    assert.match(objects, /label: +credence:example\.org:[0-9a-f]{16}/);
    assert.match(objects, /sensitive/);
    assert.doesNotMatch(objects, /(?<!never )extractable|decrypt|unwrap/);
  });

  it('goes on without the token, and signs again when it is back', async (t) => {
    const { dir, soft } = bench(t);
    await using daemon = await daemonOn(dir, soft);
    await daemon.start();
    const { root } = await fetched(daemon);
    renameSync(soft.folder, `${soft.folder}.away`);
    await assert.rejects(daemon.fetchX509(), /UNAVAILABLE|cannot|not/i);
    await eventually(() => daemon.log().includes('no CA key can sign'), {
      what: 'the daemon says that the token is gone',
    });
    assert.equal(daemon.died(), undefined);
    renameSync(`${soft.folder}.away`, soft.folder);
    await eventually(async () => (await fetched(daemon)).root === root, {
      what: 'it signs again',
    });
  });

  it('outlives the process of the module', async (t) => {
    const { dir, soft } = bench(t);
    await using daemon = await daemonOn(dir, soft);
    await daemon.start();
    const { root } = await fetched(daemon);
    const killed = processesOf(dir);
    assert.equal(killed.length, 1);
    process.kill(killed[0] ?? 0, 'SIGSEGV');
    await eventually(async () => (await fetched(daemon)).root === root, {
      what: 'it signs in another process',
    });
    const [next = 0] = processesOf(dir);
    await daemon.stop('SIGKILL');
    await eventually(() => !processesOf(dir).includes(next), {
      what: 'no process is left of a daemon that was killed',
    });
  });

  it('says what is wrong at the start, and makes no other root', async (t) => {
    const { dir, soft, pin } = bench(t);
    pin('9999');
    const wrong = async (more: Record<string, unknown>, expected: RegExp) => {
      await using daemon = await daemonOn(dir, soft, more);
      await assert.rejects(daemon.start(), expected);
    };
    await wrong({}, /refuses the login: CKR_PIN_INCORRECT/);
    await wrong({}, /has refused this PIN before/);
    pin('1234');
    await wrong({ module: '/nonexistent.so' }, /cannot load the PKCS#11 module.*nonexistent/);
    await wrong({ module: '/bin/true' }, /cannot load the PKCS#11 module \/bin\/true/);
    await wrong({ token_label: 'other' }, /\\?"other\\?" is not there/);
    soft.add(TOKEN);
    await wrong({}, /is not the only one/);
  });

  it('refuses to start with a root whose key is gone', async (t) => {
    const { dir, soft } = bench(t);
    await using daemon = await daemonOn(dir, soft);
    await daemon.start();
    const { root } = await fetched(daemon);
    await daemon.stop();
    const away = mkdtempSync(join(dir, 'copy-'));
    renameSync(soft.folder, join(away, 'tokens'));
    const empty = softTokens(dir);
    empty.add(TOKEN);
    await assert.rejects(daemon.start(), /there is no key [0-9a-f]{40}/);
    rmSync(soft.folder, { recursive: true });
    renameSync(join(away, 'tokens'), soft.folder);
    await daemon.start();
    assert.equal((await fetched(daemon)).root, root);
  });
});

/** Processes of this daemon that hold the module, by its configuration in their environment. */
function processesOf(dir: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const read = (name: string) => readFileSync(`/proc/${pid}/${name}`, 'latin1');
        return read('cmdline').includes('pkcs11-token') && read('environ').includes(`${dir}/`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

describe('keys in SoftHSM2', () => {
  const open = async (t: TestContext, dir: string, soft: SoftTokens): Promise<TokenKeys> => {
    const config: TokenKeysConfig = {
      ...{ module: soft.module, token: { by: 'label', value: TOKEN } },
      ...{ pin: { file: join(dir, 'pin') }, keyLabel: 'credence', trustDomain: 'example.org' },
      ...{ dataDir: join(dir, 'data'), caKeyType: 'ec-p256' },
    };
    const deps = { clock: systemClock, random: systemRandom, log: new FakeLogger() };
    const keys = await openTokenKeys(config, { ...deps, start: startTokenProcess });
    t.after(() => keys.close());
    return keys;
  };

  for (const type of ['ec-p256', 'ec-p384', 'rsa-2048'] as const satisfies KeyType[]) {
    it(`signs CAs and SVIDs that OpenSSL verifies with ${type}`, async (t) => {
      const { dir, soft } = bench(t);
      const keys = await open(t, dir, soft);
      const config = issuerConfig({ dataDir: join(dir, 'data'), keyManager: 'pkcs11' });
      const deps = { clock: systemClock, random: systemRandom, log: new FakeLogger(), keys };
      const issuer = await openIssuer({ ...config, caKeyType: type }, deps);
      t.after(() => issuer.close());
      opensslVerify(t, issuer, await issuer.mint({ id: WEB, dnsNames: [] }, {}));
    });
  }

  it('says that a key is of another type, or gone', async (t) => {
    const { dir, soft } = bench(t);
    const keys = await open(t, dir, soft);
    const key = await keys.generate('ec-p256');
    await assert.rejects(async () => keys.load(key.id, 'ec-p384'), { code: 'ERR_KEY_STORE' });
    await key.sign(Buffer.from('x'));
    soft.tool(TOKEN, '--delete-object', '--type', 'privkey', '--id', key.id);
    await assert.rejects(async () => key.sign(Buffer.from('x')), { code: 'ERR_KEY_STORE' });
    await keys.remove(key.id);
    assert.deepEqual(await keys.ids(), []);
  });

  it('keep the event loop free while 1,000 SVIDs are signed and keys are made', async (t) => {
    const { dir, soft } = bench(t);
    const keys = await open(t, dir, soft);
    const config = issuerConfig({ dataDir: join(dir, 'data'), keyManager: 'pkcs11' });
    const deps = { clock: systemClock, random: systemRandom, log: new FakeLogger(), keys };
    const issuer = await openIssuer(config, deps);
    t.after(() => issuer.close());
    const mint = () => issuer.mint({ id: WEB, dnsNames: [] }, {});
    for (let n = 0; n < 200; n++) await mint();
    const turns = measureTurns();
    const times: number[] = [];
    const making = Promise.all([keys.generate('rsa-4096'), keys.generate('ec-p256')]);
    for (let n = 0; n < 1000; n++) {
      const at = systemClock.monotonic();
      await mint();
      times.push(systemClock.monotonic() - at);
    }
    await making;
    const longest = turns.stop();
    times.sort((a, b) => a - b);
    const [first = NaN, second = NaN] = longest;
    t.diagnostic(
      `mint p50 ${times[500]?.toFixed(2)} ms, p99 ${times[990]?.toFixed(2)} ms; ` +
        `longest turns ${first.toFixed(2)} and ${second.toFixed(2)} ms of processor time`,
    );
    // A call of the module in this process would take 100 ms and more for each key.
    assert.ok(second < 5, `two turns of the loop took ${second.toFixed(2)} ms and more`);
  });
});
