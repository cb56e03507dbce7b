import assert from 'node:assert/strict';
import { chmodSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { DAY_MS, HOUR_MS, opensslVerify, temporaryFolder } from '../../test/support/issuer.ts';
import {
  DELAY_MS,
  mint,
  rootsOf,
  signerOf,
  slotsOf,
  start,
} from '../../test/support/following-issuer.ts';
import {
  foreignCas,
  mountSecret,
  type ForeignCa,
  type MountedSecret,
} from '../../test/support/upstream.ts';

const { make } = foreignCas();
const root = make({ name: 'root' });
const first = make({ name: 'first', issuer: root });
const second = make({ name: 'second', issuer: root });
const newRoot = make({ name: 'new root' });
const third = make({ name: 'third', issuer: newRoot });

const FIRST = { cert: first.cert, key: first.key, bundle: root.cert };
const SECOND = { cert: second.cert, key: second.key, bundle: root.cert };
const THIRD = { cert: third.cert, key: third.key, bundle: newRoot.cert };

describe('an issuing CA from files', () => {
  it('signs SVIDs that openssl verifies up to the root', async (t) => {
    const { issuer } = await start(t, FIRST);
    const svid = await mint(issuer);
    assert.equal(svid.chain.length, 2);
    opensslVerify(t, issuer, svid);
    assert.deepEqual(slotsOf(issuer), ['root CN=root', 'active CN=first']);
  });

  it('signs with a self-signed CA, whose SVIDs travel alone', async (t) => {
    const { issuer } = await start(t, { cert: root.cert, key: root.key, bundle: root.cert });
    const svid = await mint(issuer);
    assert.equal(svid.chain.length, 1);
    opensslVerify(t, issuer, svid);
  });

  it('has what is between in the chain, and RSA above EC', async (t) => {
    const rsa = make({ name: 'rsa root', newKey: ['rsa:2048'] });
    const middle = make({ name: 'middle', issuer: rsa });
    const low = make({ name: 'low', issuer: middle });
    const cert = low.cert + middle.cert;
    const { issuer } = await start(t, { cert, key: low.key, bundle: rsa.cert });
    const svid = await mint(issuer);
    assert.equal(svid.chain.length, 3);
    opensslVerify(t, issuer, svid);
  });

  it('draws serial numbers that two daemons do not share', async (t) => {
    const secret = mountSecret(join(temporaryFolder(t), 'secret'), FIRST);
    const nodes = [await start(t, FIRST, {}, secret), await start(t, FIRST, {}, secret)];
    const serials = new Set<string>();
    for (const { issuer } of nodes) {
      for (let n = 0; n < 100; n++) serials.add((await mint(issuer)).serial);
    }
    assert.equal(serials.size, 200);
  });

  it('lets no SVID outlive the CA or the root', async (t) => {
    const short = make({ name: 'short', issuer: root, days: 1 });
    const { issuer } = await start(t, { cert: short.cert, key: short.key, bundle: root.cert });
    const svid = await mint(issuer, 7 * DAY_MS);
    const end = issuer.authorities().find(({ slot }) => slot === 'active')?.notAfterMs;
    assert.equal(svid.notAfterMs, end);
    opensslVerify(t, issuer, svid);
  });

  it('leaves nothing of its key on disk', async (t) => {
    const dataDir = join(temporaryFolder(t), 'data');
    await start(t, FIRST, { keyManager: 'disk', dataDir });
    assert.deepEqual(readdirSync(dataDir), ['upstream-roots.json']);
  });
});

describe('files that are replaced', () => {
  it('signs with the new CA at once below the same root', async (t) => {
    const { issuer, secret, changed } = await start(t, FIRST);
    let changes = 0;
    issuer.onBundleChange(() => changes++);
    secret.replace(SECOND);
    await changed();
    assert.equal(await signerOf(issuer), 'CN=second');
    assert.equal(changes, 0);
  });

  it('trusts a new root first, then signs under it, then lets go of the old one', async (t) => {
    const { issuer, secret, deps, changed } = await start(t, FIRST);
    const before = issuer.bundle();
    const seen: string[][] = [];
    issuer.onBundleChange(() => seen.push(rootsOf(issuer)));
    secret.replace(THIRD);
    await changed();
    assert.equal(await signerOf(issuer), 'CN=first');
    assert.deepEqual(seen, [['CN=new root', 'CN=root']]);
    assert.ok(issuer.bundle().sequence > before.sequence);
    assert.deepEqual(slotsOf(issuer), ['root CN=root', 'active CN=first', 'prepared CN=third']);

    await deps.clock.advance(DELAY_MS);
    assert.equal(await signerOf(issuer), 'CN=third');
    opensslVerify(t, issuer, await mint(issuer), deps.clock.now());
    assert.deepEqual(slotsOf(issuer), ['root CN=new root', 'active CN=third', 'kept CN=root']);

    // The last SVID of the old root, here or on a node that was slower.
    await deps.clock.advance(HOUR_MS + DELAY_MS - 1000);
    assert.deepEqual(rootsOf(issuer), ['CN=new root', 'CN=root']);
    await deps.clock.advance(2000);
    assert.deepEqual(rootsOf(issuer), ['CN=new root']);
    assert.deepEqual(seen.at(-1), ['CN=new root']);
  });

  it('keeps the old root for as long as the longest life that was asked for', async (t) => {
    const { issuer, secret, deps, changed } = await start(t, FIRST);
    const long = await mint(issuer, 5 * HOUR_MS);
    secret.replace(THIRD);
    await changed();
    await deps.clock.advance(long.notAfterMs - deps.clock.now() - 1000);
    assert.deepEqual(rootsOf(issuer), ['CN=new root', 'CN=root']);
  });

  it('signs at once under a root that was trusted before', async (t) => {
    const both = root.cert + newRoot.cert;
    const { issuer, secret, deps, changed } = await start(t, { ...FIRST, bundle: both });
    await deps.clock.advance(DELAY_MS);
    secret.replace({ ...THIRD, bundle: both });
    await changed();
    assert.equal(await signerOf(issuer), 'CN=third');
  });

  it('lets go of a root at once that nothing was signed under', async (t) => {
    const both = root.cert + newRoot.cert;
    const { issuer, secret, changed } = await start(t, { ...FIRST, bundle: both });
    secret.replace(FIRST);
    await changed();
    assert.deepEqual(rootsOf(issuer), ['CN=root']);
  });

  it('does not wait when the old CA has expired', async (t) => {
    const short = make({ name: 'short', issuer: root, days: 1 });
    const from = { cert: short.cert, key: short.key, bundle: root.cert };
    const { issuer, secret, deps, changed } = await start(t, from);
    await deps.clock.advance(DAY_MS + 1000);
    await assert.rejects(mint(issuer), { code: 'ERR_ISSUER', message: /CN=short is valid until/ });
    assert.equal(deps.log.count('error', 'the issuing CA has expired'), 1);
    secret.replace(THIRD);
    await changed();
    assert.equal(await signerOf(issuer), 'CN=third');
  });

  it('says of what is no good which file and why, once, and goes on', async (t) => {
    const { issuer, secret, deps, changed } = await start(t, FIRST);
    const results: string[] = [];
    issuer.onReload((result) => results.push(result));
    secret.replace({ ...SECOND, key: first.key });
    await changed();
    assert.equal(await signerOf(issuer), 'CN=first');
    assert.match(issuer.upstream()?.lastError ?? '', /tls\.key: it is not the key of CN=second/);
    assert.equal(deps.log.count('warn', 'the new issuing CA is refused'), 1);
    const [said] = deps.log.lines.filter(({ message }) => message.includes('is refused'));
    assert.match(said?.fields.reason ?? '', /tls\.key: it is not the key of CN=second/);
    assert.equal('err' in (said?.fields ?? {}), false);
    // It is looked at again by itself, without another word.
    await deps.clock.advance(60_000);
    assert.equal(deps.log.count('warn', 'the new issuing CA is refused'), 1);

    secret.replace(SECOND);
    await changed();
    assert.equal(await signerOf(issuer), 'CN=second');
    assert.equal(issuer.upstream()?.lastError, undefined);
    assert.equal(deps.log.count('info', 'the files of the issuing CA are good again'), 1);
    assert.equal(results[0], 'refused');
    assert.equal(results.at(-1), 'applied');
  });

  it('says early that the CA ends, when SVIDs do not have a few lives left', async (t) => {
    const short = make({ name: 'short', issuer: root, days: 1 });
    const from = { cert: short.cert, key: short.key, bundle: root.cert };
    const { deps } = await start(t, from);
    // A sixth of its life, which is more than three of those of SVIDs.
    await deps.clock.advance(DAY_MS - 5 * HOUR_MS);
    assert.equal(deps.log.count('warn', 'the issuing CA ends soon'), 0);
    await deps.clock.advance(HOUR_MS + 60_000);
    assert.equal(deps.log.count('warn', 'the issuing CA ends soon'), 1);
  });
});

describe('who may reach the files', () => {
  const open = (t: TestContext, ca: ForeignCa, change: (secret: MountedSecret) => void) => {
    const path = join(temporaryFolder(t), 'secret');
    const secret = mountSecret(path, { ...ca, bundle: root.cert });
    change(secret);
    return start(t, FIRST, {}, secret);
  };

  it('takes a key that its group may read, as fsGroup makes it', async (t) => {
    await open(t, first, ({ settings }) => chmodSync(settings.key_file, 0o440));
  });

  it('refuses a key that others may read, or its group may write', async (t) => {
    for (const mode of [0o644, 0o660, 0o404]) {
      const opening = open(t, first, ({ settings }) => chmodSync(settings.key_file, mode));
      await assert.rejects(opening, { code: 'ERR_KEY_STORE', message: /others may reach the key/ });
    }
  });

  it('refuses certificates that others may write', async (t) => {
    for (const name of ['cert_file', 'bundle_file'] as const) {
      const opening = open(t, first, ({ settings }) => chmodSync(settings[name], 0o666));
      await assert.rejects(opening, { code: 'ERR_KEY_STORE', message: /others may write it/ });
    }
  });

  it('names a file that is missing', async (t) => {
    const opening = open(t, first, ({ path }) => rmSync(join(path, 'ca.crt')));
    await assert.rejects(opening, { code: 'ERR_KEY_STORE', message: /cannot read .*ca\.crt/ });
  });
});
