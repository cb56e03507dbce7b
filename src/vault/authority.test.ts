import assert from 'node:assert/strict';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { FakeLogger, HOUR_MS, DAY_MS } from '../../test/support/issuer.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import {
  broken,
  endless,
  parsed,
  says,
  silent,
  startVaultServer,
  VAULT_SECRETS,
  type Behaviour,
  type VaultServer,
  type VaultServerOptions,
} from '../../test/support/vault-server.ts';
import { systemClock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { systemRandom } from '../core/random.ts';
import { readCertificate } from '../identity/certificate.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { generatePrivateKey, localSigningKey } from '../issuer/keys.ts';
import { createSigningRequest } from '../issuer/signing-request.ts';
import type { CaOrder } from '../issuer/upstream-authority.ts';
import { createVaultAuthority } from './authority.ts';
import type { VaultAuth, VaultConfig } from './vault-config.ts';

const trustDomain = parseTrustDomain('example.org');

async function order(ttlMs = DAY_MS): Promise<CaOrder> {
  const key = localSigningKey(await generatePrivateKey('ec-p256'), 'ec-p256');
  return { key, csr: await createSigningRequest(key, trustDomain), ttlMs };
}

interface Wanted extends VaultServerOptions {
  readonly auth?: VaultAuth['type'];
  readonly config?: Partial<VaultConfig>;
  readonly nameConstraint?: boolean;
}

async function setUp(t: TestContext, { auth, config, nameConstraint, ...options }: Wanted = {}) {
  const clock = new FakeClock(systemClock.now());
  const log = new FakeLogger();
  const vault = await startVaultServer({ ...options, clock });
  const authority = createVaultAuthority(vault.config(auth, config), {
    ...{ clock, log, random: systemRandom, trustDomain },
    nameConstraint: nameConstraint ?? false,
  });
  t.after(async () => {
    authority.close();
    await vault[Symbol.asyncDispose]();
  });
  const signal = new AbortController().signal;
  const issue = async (ttlMs?: number) => authority.issue(await order(ttlMs), { signal });
  return { clock, log, vault, authority, issue };
}

/** What asking was refused with: in one line, with none of the secrets. */
async function refusal(asked: Promise<unknown>): Promise<string> {
  const thrown: unknown = await asked.then(
    () => assert.fail('it was accepted'),
    (reason: unknown) => reason,
  );
  assert.ok(thrown instanceof IdentityError, String(thrown));
  assert.equal(thrown.code, 'ERR_ISSUER');
  assert.match(thrown.message, /^[\x20-\x7e…]{1,600}$/);
  for (const secret of [...VAULT_SECRETS, 'hvs.']) {
    assert.ok(!thrown.message.includes(secret), thrown.message);
  }
  return thrown.message;
}

const paths = ({ asked }: VaultServer) => asked.map((one) => one.replace('/v1/', ''));
const SIGN = 'POST pki/root/sign-intermediate';

describe('a CA signed by Vault', () => {
  it('is one for leaves alone, of the key and the trust domain, below the root of the mount', async (t) => {
    const { vault, authority, clock } = await setUp(t);
    const wanted = await order();
    const { chain, roots } = await authority.issue(wanted, {
      signal: new AbortController().signal,
    });
    const [der = Buffer.alloc(0), root] = chain;
    const facts = readCertificate(der);
    assert.ok(facts.publicKey.equals(wanted.key.spki));
    assert.deepEqual(
      [facts.isCa, facts.pathLength, facts.uris],
      [true, 0, ['spiffe://example.org']],
    );
    assert.match(parsed(der).subject, /^O=example\.org\nCN=Credence issuing CA [0-9a-f]{16}$/);
    assert.ok(Math.abs(facts.notAfterMs - clock.now() - DAY_MS) < 2000);
    assert.equal(chain.length, 2);
    assert.deepEqual(roots, [root]);
    assert.equal(
      parsed(root ?? der)
        .toString()
        .trim(),
      vault.pki.rootPem.trim(),
    );
    assert.deepEqual(vault.ignored, []);
    // What a policy may pin; anything more would have to be allowed there.
    const { csr, ...rest } = vault.lastBody;
    assert.match(String(csr), /^-----BEGIN CERTIFICATE REQUEST-----\n/);
    assert.deepEqual(rest, {
      ...{ format: 'pem', ttl: '86400s', max_path_length: 0, exclude_cn_from_sans: true },
      ...{ organization: 'example.org', uri_sans: 'spiffe://example.org' },
    });
    assert.equal(authority.name, `vault ${vault.address}/pki`);
  });

  it('comes with what is between it and the root', async (t) => {
    const { issue } = await setUp(t, { intermediate: 'with_root' });
    const { chain, roots } = await issue();
    assert.deepEqual(
      chain.slice(1).map((der) => parsed(der).subject),
      ['CN=between 1', 'CN=root 1'],
    );
    assert.deepEqual(roots, [chain[2]]);
  });

  it('needs the root from a file where the mount has none', async (t) => {
    const { vault, issue, authority, log, clock } = await setUp(t, {
      intermediate: 'without_root',
    });
    assert.match(await refusal(issue()), /^https:\/\/127.* ends at CN=between 1: its issuer CN=/);
    authority.close();
    const rootFile = join(vault.folder, 'roots.pem');
    writeFileSync(rootFile, vault.pki.rootPem);
    const other = createVaultAuthority(vault.config('approle', { rootFile }), {
      ...{ clock, log, random: systemRandom, trustDomain },
    });
    t.after(() => other.close());
    const signal = new AbortController().signal;
    assert.equal((await other.issue(await order(), { signal })).chain.length, 3);
  });

  it('lives no longer than the mount and the issuer allow, and Vault says so', async (t) => {
    const { issue, clock, log } = await setUp(t, { maxTtlS: 3600 });
    const { chain } = await issue();
    const [der = Buffer.alloc(0)] = chain;
    assert.ok(Math.abs(readCertificate(der).notAfterMs - clock.now() - HOUR_MS) < 2000);
    const said = log.lines.find(({ message }) => message === 'vault warns')?.fields.detail;
    assert.match(said ?? '', /longer than permitted maxTTL/);
  });

  it('is asked of the issuer and in the namespace that are named', async (t) => {
    const { vault, issue } = await setUp(t, {
      ...{ namespace: 'team/a', config: { issuerRef: 'spiffe' } },
    });
    await issue();
    assert.deepEqual(paths(vault), [
      'POST auth/approle/login',
      'POST pki/issuer/spiffe/sign-intermediate',
    ]);
  });

  it('is held to the trust domain where that is wanted, or not taken', async (t) => {
    const { vault, issue } = await setUp(t, { nameConstraint: true });
    const [der = Buffer.alloc(0)] = (await issue()).chain;
    assert.ok(readCertificate(der).nameConstraints);
    assert.equal(vault.lastBody['permitted_uri_domains'], 'example.org');
    const old = await setUp(t, { nameConstraint: true, before119: true });
    assert.match(await refusal(old.issue()), /has no name constraint, .* takes Vault 1\.19/);
  });

  it('is below the new root after the mount was given one', async (t) => {
    const { vault, issue } = await setUp(t);
    const before = await issue();
    await vault.pki.rotate();
    const after = await issue();
    assert.notDeepEqual(after.roots, before.roots);
    assert.equal(parsed(after.roots[0] ?? Buffer.alloc(0)).subject, 'CN=root 2');
  });
});

describe('logging in to Vault', () => {
  for (const [auth, first] of [
    ['token', 'GET auth/token/lookup-self'],
    ['approle', 'POST auth/approle/login'],
    ['kubernetes', 'POST auth/kubernetes/login'],
    ['cert', 'POST auth/cert/login'],
  ] as const) {
    it(`works by ${auth}, once, and the token is renewed`, async (t) => {
      const { vault, issue, clock } = await setUp(t, { auth });
      await issue();
      await issue();
      assert.deepEqual(paths(vault), [first, SIGN, SIGN]);
      await clock.advance(600_000);
      await until(() => vault.asked.length === 4);
      assert.equal(paths(vault).at(-1), 'POST auth/token/renew-self');
      await clock.advance(500_000);
      await issue();
      assert.equal(paths(vault).filter((one) => one === first).length, 1);
    });
  }

  it('is done anew when Vault does not know the token any more', async (t) => {
    const { vault, issue } = await setUp(t);
    await issue();
    vault.revokeAll();
    await issue();
    assert.deepEqual(paths(vault).slice(2), [SIGN, 'POST auth/approle/login', SIGN]);
  });

  it('is done anew after the longest life of a token', async (t) => {
    const { vault, issue, clock } = await setUp(t, { renewable: false });
    await issue();
    await clock.advance(1_195_000);
    await issue();
    assert.equal(paths(vault).filter((one) => one.endsWith('login')).length, 2);
  });

  it('tells of a policy that is missing, without asking again and again', async (t) => {
    const { vault, issue } = await setUp(t, { auth: 'token' });
    const denied = says('{"errors":["1 error occurred:\\n\\t* permission denied\\n\\n"]}', 403);
    vault.behave(denied);
    const said = await refusal(issue());
    assert.match(said, /answered 403 to pki\/root\/sign-intermediate: 1 error .*permission denied/);
    assert.deepEqual(paths(vault), ['GET auth/token/lookup-self', SIGN]);
    // With a token of before it may have been the token.
    await issue();
    vault.behave(denied, denied);
    assert.match(await refusal(issue()), /permission denied/);
    assert.equal(vault.asked.length, 7);
  });

  it('tells of a secret ID, a role, a JWT or a certificate that Vault does not take', async (t) => {
    const once = await setUp(t, { secretIdUses: 1 });
    await once.issue();
    once.vault.revokeAll();
    assert.match(await refusal(once.issue()), /answered 400 to auth\/approle\/login: invalid role/);
    const { vault } = once;
    const strange = join(vault.folder, 'strange');
    writeFileSync(strange, 'eyJhbGciOiJub25lIn0.e30.', { mode: 0o600 });
    for (const [auth, said] of [
      [{ ...of(vault, 'kubernetes'), role: 'other' }, /invalid role name "other"/],
      [{ ...of(vault, 'kubernetes'), jwtFile: strange }, /kubernetes\/login: permission denied/],
      [{ ...of(vault, 'cert'), role: 'other' }, /no chain matching all constraints/],
      [{ ...of(vault, 'approle'), mount: 'apps' }, /404 to auth\/apps\/login: no handler/],
      [{ ...of(vault, 'token'), tokenFile: strange }, /sign-intermediate: permission denied/],
    ] as const) {
      const authority = createVaultAuthority(vault.config('token', { auth }), {
        ...{ clock: once.clock, log: once.log, random: systemRandom, trustDomain },
      });
      t.after(() => authority.close());
      const signal = new AbortController().signal;
      assert.match(await refusal(order().then((o) => authority.issue(o, { signal }))), said);
    }
  });

  it('takes no secret from a file that others may read, and says which', async (t) => {
    const { vault, issue } = await setUp(t);
    const file = join(vault.folder, 'secret-id');
    chmodSync(file, 0o644);
    assert.match(await refusal(issue()), /secret-id has mode 0644, others may reach the secret ID/);
    assert.deepEqual(vault.asked, []);
    chmodSync(file, 0o640);
    await issue();
  });

  it('says that a file is not there, and goes on when it is', async (t) => {
    const { vault, issue } = await setUp(t, { auth: 'cert' });
    const file = join(vault.folder, 'client.key');
    const key = readFileSync(file);
    writeFileSync(file, '');
    assert.match(await refusal(issue()), /^cannot ask https/);
    writeFileSync(file, key);
    await issue();
  });
});

describe('an outage or a bad answer of Vault', () => {
  it('is told, and over as soon as it is', async (t) => {
    const { vault, issue } = await setUp(t);
    await issue();
    await vault.leave();
    assert.match(await refusal(issue()), /^cannot ask https:\/\/127\.0\.0\.1:\d+: connect ECONN/);
    await vault.back();
    vault.sealed = true;
    assert.match(await refusal(issue()), /answered 503 to pki\/root\/.*: Vault is sealed$/);
    vault.sealed = false;
    vault.initialised = false;
    assert.match(await refusal(issue()), /answered 501 .*: Vault is not initialized$/);
    vault.initialised = true;
    await issue();
  });

  for (const [what, behaviour, said] of [
    ['HTML', says('<html><h1>It works!</h1></html>'), /is no JSON object: <html><h1>It works!/],
    ['nothing at all', says(''), /is no JSON object: nothing$/],
    ['an empty object', says('{}'), /expected one certificate in PEM as certificate$/],
    ['another kind', says('{"data":{"certificate":{}}}'), /expected one certificate in PEM/],
    ['a failure in HTML', says('<b>Bad gateway</b>', 502), /answered 502 .*: <b>Bad gateway<\/b>$/],
    ['a failure without words', says('', 500), /answered 500 .*: without a reason$/],
    ['no content', says('', 204), /expected one certificate in PEM/],
    ['that it is asked too often', says('{"errors":[]}', 429), /429 .*: it is asked too often/],
    ['that it is a performance standby', says('', 473), /473 .*: it is a performance standby$/],
    ['for ever', endless, /an answer of more than 262144 bytes$/],
    ['with a broken connection', broken, /socket hang up|ECONNRESET/],
  ] as const) {
    it(`is told of: it answers ${what}`, async (t) => {
      const { vault, issue } = await setUp(t);
      vault.behave(behaviour);
      assert.match(await refusal(issue()), said);
      await issue();
    });
  }

  it('is told of: it says nothing for 15 seconds', async (t) => {
    const { vault, issue, clock } = await setUp(t);
    await issue();
    for (const behaviour of [silent, halved]) {
      vault.behave(behaviour);
      const asked = vault.asked.length;
      const said = refusal(issue());
      await until(() => vault.asked.length > asked);
      await clock.advance(15_000);
      assert.match(await said, /^cannot ask https.*: no answer within 15 s$/);
    }
  });

  it('is told of without any secret, also when it sends them back', async (t) => {
    for (const auth of ['approle', 'kubernetes', 'token'] as const) {
      const { vault, issue } = await setUp(t, { auth });
      const echo: Behaviour = (request, response) => {
        const parts: Buffer[] = [JSON.stringify(request.headers)].map((text) => Buffer.from(text));
        request.on('data', (part: Buffer) => parts.push(part));
        request.on('end', () => {
          response.writeHead(502).end(`got ${Buffer.concat(parts.reverse()).toString()}`);
        });
      };
      vault.behaveAll(echo);
      assert.match(await refusal(issue()), /502.*\[redacted\]/);
    }
  });

  it('ends with the one who asked, and with the authority', async (t) => {
    const { vault, authority } = await setUp(t);
    vault.behave(silent, silent);
    const own = new AbortController();
    const mine = authority.issue(await order(), { signal: own.signal });
    await until(() => paths(vault).includes(SIGN));
    own.abort(new Error('gone'));
    await assert.rejects(mine, /^Error: gone$/);
    const other = authority.issue(await order(), { signal: new AbortController().signal });
    await until(() => vault.asked.length === 3);
    authority.close();
    await assert.rejects(other, { code: 'ERR_SHUTDOWN' });
  });
});

describe('the way to Vault', () => {
  it('is TLS with its certificate verified, for the name that was told', async (t) => {
    const { issue, vault } = await setUp(t, { config: { caFile: undefined } });
    assert.match(await refusal(issue()), /^cannot ask .*: (?:unable to|self-signed)/);
    assert.deepEqual(vault.asked, []);
    const named = await setUp(t, { config: { serverName: 'vault.test' } });
    await named.issue();
    const other = await setUp(t, { config: { serverName: 'other.test' } });
    assert.match(await refusal(other.issue()), /Hostname\/IP does not match/);
    assert.deepEqual(other.vault.asked, []);
  });

  it('goes on where a standby sends, once, with TLS and to hosts that are named alone', async (t) => {
    const { issue, vault } = await setUp(t);
    const active = await startVaultServer({ otherCa: true });
    t.after(() => active[Symbol.asyncDispose]());
    const to = (standbyOf: string) => {
      vault.standbyOf = standbyOf;
      return refusal(issue());
    };
    // The same host, of which the certificate is another CA's.
    assert.match(await to(active.address), /^cannot ask/);
    assert.deepEqual(active.asked, []);
    assert.match(await to(vault.address), /answered 307/);
    assert.match(await to('https://vault.example:1'), /redirect_hosts does not name it/);
    assert.match(
      await to('http://127.0.0.1:1'),
      /sends to http:\/\/127\.0\.0\.1:1: expected https/,
    );
    assert.match(await to('https://a:b@127.0.0.1'), /expected no user in it/);
    assert.match(await to(`${vault.address}/other?x=`), /expected the same path/);
    assert.match(await to('https://['), /expected a URL/);
    vault.standbyOf = undefined;
    const there = `${vault.address.replace('127.0.0.1', 'localhost')}/v1/auth/approle/login`;
    vault.behaveAll((_, response) => void response.writeHead(307, { location: there }).end());
    assert.match(await refusal(issue()), /sends to https:\/\/localhost:\d+: issuer\.upstream/);
    const asked = vault.asked.length;
    const here = `${vault.address}/v1/auth/approle/login`;
    vault.behaveAll((_, response) => void response.writeHead(307, { location: here }).end());
    await issue();
    assert.equal(vault.asked.length - asked, 3);
  });
});

function of<T extends VaultAuth['type']>(vault: VaultServer, type: T) {
  return vault.config(type).auth as Extract<VaultAuth, { type: T }>;
}

/** Says the half of an answer. */
const halved: Behaviour = (_, response) => {
  response.writeHead(200, { 'content-length': '1000' });
  response.write('{"data":');
};

/** Real sockets take their time, which a fake clock does not count. */
async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 5000 && !holds(); turn++) await settle();
  assert.ok(holds());
}
