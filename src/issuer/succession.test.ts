import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import {
  DELAY_MS,
  mint,
  rootsOf,
  signerOf,
  slotsOf,
  start,
  type Running,
} from '../../test/support/following-issuer.ts';
import {
  DAY_MS,
  HOUR_MS,
  issuerConfig,
  issuerDeps,
  opensslVerify,
  temporaryFolder,
} from '../../test/support/issuer.ts';
import { foreignCas, mountSecret } from '../../test/support/upstream.ts';
import { openIssuer, type IssuerConfig } from './issuer.ts';

const { make } = foreignCas();
const root = make({ name: 'root' });
const first = make({ name: 'first', issuer: root });
const newRoot = make({ name: 'new root' });
const third = make({ name: 'third', issuer: newRoot });

const FIRST = { cert: first.cert, key: first.key, bundle: root.cert };
const THIRD = { cert: third.cert, key: third.key, bundle: newRoot.cert };

const onDisk = (t: TestContext) => ({
  keyManager: 'disk' as const,
  dataDir: join(temporaryFolder(t), 'data'),
});

describe('a restart', () => {
  /** As a daemon does that starts where another one ended, `laterMs` after it. */
  const again = (t: TestContext, before: Running, config: Partial<IssuerConfig>, laterMs = 0) => {
    before.issuer.close();
    return start(t, FIRST, config, before.secret, before.deps.clock.now() + laterMs);
  };

  it('trusts a new root before anything is signed under it', async (t) => {
    const config = onDisk(t);
    const before = await start(t, FIRST, config);
    before.secret.replace(THIRD);
    const { issuer, deps } = await again(t, before, config);
    assert.deepEqual(rootsOf(issuer), ['CN=new root', 'CN=root']);
    assert.deepEqual(slotsOf(issuer), [
      ...['root CN=new root', 'prepared CN=third', 'kept CN=root'],
    ]);
    await deps.clock.advance(DELAY_MS - 1);
    await assert.rejects(mint(issuer), {
      code: 'ERR_ISSUER',
      message: /the root CN=new root is new/,
    });
    await deps.clock.advance(1);
    assert.equal(await signerOf(issuer), 'CN=third');
  });

  it('counts from when the root was first in the bundle, however often it happens', async (t) => {
    const config = onDisk(t);
    const before = await start(t, FIRST, config);
    before.secret.replace(THIRD);
    await before.changed();
    const since = before.deps.clock.now();
    const second = await again(t, before, config, DELAY_MS / 4);
    await assert.rejects(mint(second.issuer), { code: 'ERR_ISSUER' });
    const { issuer, deps } = await again(t, second, config, DELAY_MS / 4);
    await assert.rejects(mint(issuer), { code: 'ERR_ISSUER' });
    await deps.clock.advance(since + DELAY_MS - deps.clock.now() - 100);
    await assert.rejects(mint(issuer), { code: 'ERR_ISSUER' });
    await deps.clock.advance(100);
    assert.equal(await signerOf(issuer), 'CN=third');
  });

  it('goes back to the CA before at once, when its files come back', async (t) => {
    const config = onDisk(t);
    const before = await start(t, FIRST, config);
    await before.deps.clock.advance(DELAY_MS);
    before.secret.replace(THIRD);
    const { issuer, secret, changed } = await again(t, before, config);
    secret.replace(FIRST);
    await changed();
    assert.equal(await signerOf(issuer), 'CN=first');
  });

  it('does not wait for a root that was listed for long, or where nothing was signed', async (t) => {
    const config = onDisk(t);
    const before = await start(t, { ...FIRST, bundle: root.cert + newRoot.cert }, config);
    await before.deps.clock.advance(DELAY_MS);
    before.secret.replace(THIRD);
    assert.equal(await signerOf((await again(t, before, config)).issuer), 'CN=third');
    assert.equal(await signerOf((await start(t, THIRD, onDisk(t))).issuer), 'CN=third');
  });

  it('trusts the root before for as long as its SVIDs may live', async (t) => {
    const config = onDisk(t);
    const before = await start(t, FIRST, config);
    await mint(before.issuer, 3 * HOUR_MS);
    before.secret.replace(THIRD);
    const next = await again(t, before, config);
    assert.deepEqual(rootsOf(next.issuer), ['CN=new root', 'CN=root']);
    assert.ok(next.issuer.bundle().sequence > before.issuer.bundle().sequence);
    await next.deps.clock.advance(3 * HOUR_MS + DELAY_MS - 2000);
    assert.deepEqual(rootsOf(next.issuer), ['CN=new root', 'CN=root']);
    await next.deps.clock.advance(4000);
    assert.deepEqual(rootsOf(next.issuer), ['CN=new root']);
  });

  it('without what is known of the run before distrusts its root at once', async (t) => {
    const config = onDisk(t);
    const before = await start(t, FIRST, config);
    before.secret.replace(THIRD);
    await before.changed();
    rmSync(config.dataDir, { recursive: true });
    const { issuer } = await again(t, before, config, 2000);
    assert.deepEqual(rootsOf(issuer), ['CN=new root']);
    assert.equal(await signerOf(issuer), 'CN=third');
    assert.ok(issuer.bundle().sequence > before.issuer.bundle().sequence);
  });

  it('refuses a record that it did not write', async (t) => {
    const config = onDisk(t);
    const before = await start(t, FIRST, config);
    writeFileSync(join(config.dataDir, 'upstream-roots.json'), '{"version":1}');
    await assert.rejects(again(t, before, config), {
      code: 'ERR_KEY_STORE',
      message: /upstream-roots\.json: expected a trust_domain/,
    });
  });
});

describe('the record of the roots', () => {
  /** Told apart by inode and time: each write makes a new file. */
  function recorded({ dataDir }: { dataDir: string }) {
    const { ino, mtimeNs } = statSync(join(dataDir, 'upstream-roots.json'), { bigint: true });
    return `${ino} ${mtimeNs}`;
  }
  async function askInVain(issuer: Running['issuer']) {
    for (let n = 0; n < 20; n++) await assert.rejects(mint(issuer), { code: 'ERR_ISSUER' });
  }

  it('is not written for those who ask while no CA can sign', async (t) => {
    const short = make({ name: 'short', issuer: root, days: 1 });
    const config = onDisk(t);
    const from = { cert: short.cert, key: short.key, bundle: root.cert };
    const { issuer, deps } = await start(t, from, config);
    const before = recorded(config);
    await deps.clock.advance(DAY_MS + 1000);
    await askInVain(issuer);
    assert.equal(recorded(config), before);
  });

  it('is not written for those who ask while a new root waits', async (t) => {
    const config = onDisk(t);
    const earlier = await start(t, FIRST, config);
    earlier.secret.replace(THIRD);
    earlier.issuer.close();
    const { issuer } = await start(t, THIRD, config, earlier.secret, earlier.deps.clock.now());
    const before = recorded(config);
    await askInVain(issuer);
    assert.equal(recorded(config), before);
  });

  it('is written where it differs alone', async (t) => {
    const config = onDisk(t);
    const { issuer, secret, changed } = await start(t, FIRST, config);
    const before = recorded(config);
    const second = make({ name: 'second', issuer: root });
    secret.replace({ cert: second.cert, key: second.key, bundle: root.cert });
    await changed();
    assert.equal(await signerOf(issuer), 'CN=second');
    assert.equal(recorded(config), before);
    secret.replace(THIRD);
    await changed();
    assert.notEqual(recorded(config), before);
  });

  it('is written later when it could not be', async (t) => {
    const config = onDisk(t);
    const { secret, deps, changed } = await start(t, FIRST, config);
    rmSync(config.dataDir, { recursive: true });
    secret.replace(THIRD);
    await changed();
    assert.equal(deps.log.count('warn', 'the roots of this node could not be recorded'), 1);
    mkdirSync(config.dataDir, { mode: 0o700 });
    await deps.clock.advance(60_000);
    assert.ok(recorded(config));
  });
});

describe('a node whose CA was its own', () => {
  /** One that has signed, and is told of a CA in files from now on. */
  async function before(t: TestContext) {
    const dataDir = join(temporaryFolder(t), 'data');
    const config = { keyManager: 'disk' as const, dataDir };
    const deps = issuerDeps();
    const issuer = await openIssuer(issuerConfig(config), deps);
    const svid = await mint(issuer);
    issuer.close();
    const own = new X509Certificate(issuer.bundle().x509Authorities[0]?.der ?? '').subject;
    const secret = mountSecret(join(temporaryFolder(t), 'secret'), THIRD);
    const at = (atMs: number) => start(t, THIRD, config, secret, atMs);
    return { svid, own, at, dataDir, nowMs: deps.clock.now() };
  }

  it('signs with its own until the new root is known', async (t) => {
    const { svid, own, at, nowMs } = await before(t);
    const { issuer, deps } = await at(nowMs);
    assert.deepEqual(rootsOf(issuer), ['CN=new root', own]);
    opensslVerify(t, issuer, svid);
    opensslVerify(t, issuer, await mint(issuer));
    assert.deepEqual(slotsOf(issuer).slice(1), [
      ...[`active ${issuer.authorities()[1]?.subject ?? ''}`, 'prepared CN=third'],
    ]);
    await deps.clock.advance(DELAY_MS);
    assert.equal(await signerOf(issuer), 'CN=third');
    opensslVerify(t, issuer, svid, deps.clock.now());
  });

  it('trusts its own root until what it signed has ended, over restarts', async (t) => {
    const { svid, own, at, nowMs } = await before(t);
    const first = await at(nowMs);
    await first.deps.clock.advance(DELAY_MS / 2);
    first.issuer.close();
    const second = await at(nowMs + DELAY_MS);
    assert.equal(await signerOf(second.issuer), 'CN=third');
    assert.deepEqual(rootsOf(second.issuer), ['CN=new root', own]);
    second.issuer.close();
    const third = await at(svid.notAfterMs - 1000);
    assert.deepEqual(rootsOf(third.issuer), ['CN=new root', own]);
    // Its CA lived a day, and nothing below it longer.
    await third.deps.clock.advance(DAY_MS);
    assert.deepEqual(rootsOf(third.issuer), ['CN=new root']);
    third.issuer.close();
    const fourth = await at(third.deps.clock.now());
    assert.deepEqual(rootsOf(fourth.issuer), ['CN=new root']);
  });

  it('signs nothing until the new root is known, when its own key is gone', async (t) => {
    const { own, at, dataDir, nowMs } = await before(t);
    rmSync(join(dataDir, 'keys'), { recursive: true });
    const { issuer, deps } = await at(nowMs);
    assert.deepEqual(rootsOf(issuer), ['CN=new root', own]);
    await assert.rejects(mint(issuer), { code: 'ERR_ISSUER' });
    assert.equal(deps.log.count('warn', 'the CA that this node made itself cannot sign'), 1);
    await deps.clock.advance(DELAY_MS);
    assert.equal(await signerOf(issuer), 'CN=third');
  });

  it('does not start on a journal that it did not write', async (t) => {
    const { at, dataDir, nowMs } = await before(t);
    writeFileSync(join(dataDir, 'journal.json'), '{');
    await assert.rejects(at(nowMs), { code: 'ERR_KEY_STORE', message: /journal\.json/ });
  });

  it('leaves the journal as it is, to go back to', async (t) => {
    const { at, dataDir, nowMs } = await before(t);
    const files = () => readdirSync(dataDir, { recursive: true }).map(String).sort();
    const [journal, there] = [readFileSync(join(dataDir, 'journal.json')), files()];
    await at(nowMs);
    assert.deepEqual(files(), [...there, 'upstream-roots.json'].sort());
    assert.ok(readFileSync(join(dataDir, 'journal.json')).equals(journal));
  });
});
