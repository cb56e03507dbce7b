import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import { systemRandom } from '../core/random.ts';
import { VaultRefusal, type VaultAnswer } from './answer.ts';
import type { VaultRequest } from './calls.ts';
import { createVaultSession } from './session.ts';
import type { VaultAuth, VaultConfig } from './vault-config.ts';

const MINUTE_MS = 60_000;
const options = { signal: new AbortController().signal };
const auth = (token: string, seconds: number, renewable = true): VaultAnswer => ({
  ...{ data: {}, warnings: [] },
  auth: { client_token: token, lease_duration: seconds, renewable },
});

/** A Vault of which a test says what it answers; each login gives another token. */
function setUp(t: TestContext, more: { type?: 'approle' | 'token' } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'credence-session-'));
  const file = join(folder, 'secret');
  const write = (text: string) => writeFileSync(file, text, { mode: 0o600 });
  write('secret-1\n');
  const clock = new FakeClock();
  const log = new FakeLogger();
  const asked: string[] = [];
  let logins = 0;
  const answers = {
    login: (): VaultAnswer => auth(`token-${++logins}`, 600),
    renew: (): VaultAnswer => auth('', 600),
    lookUp: (): VaultAnswer => ({ auth: {}, warnings: [], data: { ttl: 600, renewable: true } }),
  };
  const ways: Record<string, VaultAuth> = {
    approle: { type: 'approle', mount: 'approle', roleId: 'r', secretIdFile: file },
    token: { type: 'token', tokenFile: file },
  };
  const config = { address: 'https://vault.test', auth: ways[more.type ?? 'approle'] };
  const session = createVaultSession(config as VaultConfig, {
    ...{ clock, log, random: systemRandom },
    calls: {
      call: ({ path, token = '' }: VaultRequest) => {
        asked.push(`${path} ${token}`.trim());
        try {
          if (path.endsWith('/login')) return Promise.resolve(answers.login());
          if (path.endsWith('renew-self')) return Promise.resolve(answers.renew());
          return Promise.resolve(answers.lookUp());
        } catch (thrown) {
          return Promise.reject(thrown instanceof Error ? thrown : new Error('?'));
        }
      },
    },
  });
  t.after(() => {
    session.close();
    rmSync(folder, { recursive: true });
  });
  return { session, clock, log, asked, answers, write, logins: () => logins };
}

const renewals = (asked: readonly string[]) =>
  asked.filter((one) => one.startsWith('auth/token/renew-self'));

describe('the session with Vault', () => {
  it('logs in once for all that ask, and goes on with that token', async (t) => {
    const { session, asked } = setUp(t);
    const [one, other] = await Promise.all([session.token(options), session.token(options)]);
    assert.deepEqual(one, { token: 'token-1', isNew: true });
    assert.deepEqual(other, one);
    assert.deepEqual(await session.token(options), { token: 'token-1', isNew: false });
    assert.deepEqual(asked, ['auth/approle/login']);
  });

  it('renews at half of the life as long as it gets a whole one', async (t) => {
    const { session, clock, asked, logins } = setUp(t);
    await session.token(options);
    await clock.advance(5 * MINUTE_MS - 1);
    assert.deepEqual(renewals(asked), []);
    await clock.advance(60 * MINUTE_MS + 1);
    assert.equal(renewals(asked).length, 13);
    assert.deepEqual(await session.token(options), { token: 'token-1', isNew: false });
    assert.equal(logins(), 1);
  });

  it('lets a token end that comes near its longest life, and logs in when one is needed', async (t) => {
    const { session, clock, asked, answers } = setUp(t);
    await session.token(options);
    answers.renew = () => auth('', 200);
    await clock.advance(5 * MINUTE_MS);
    assert.deepEqual(await session.token(options), { token: 'token-1', isNew: false });
    await clock.advance(200_000 - 29_000);
    assert.deepEqual(await session.token(options), { token: 'token-2', isNew: true });
    assert.equal(renewals(asked).length, 1);
  });

  it('does not renew one that cannot be', async (t) => {
    const { session, clock, asked, answers } = setUp(t);
    answers.login = () => auth('batch', 600, false);
    await session.token(options);
    await clock.advance(60 * MINUTE_MS);
    assert.deepEqual(asked, ['auth/approle/login']);
    assert.equal(clock.timers, 0);
    assert.ok((await session.token(options)).isNew);
  });

  it('keeps one that lives for ever', async (t) => {
    const { session, clock, answers } = setUp(t);
    answers.login = () => auth('root', 0, false);
    await session.token(options);
    await clock.advance(1e9);
    assert.deepEqual(await session.token(options), { token: 'root', isNew: false });
  });

  it('tries again with backoff while Vault is away, says so once, and stops at the end', async (t) => {
    const { session, clock, log, asked, answers } = setUp(t);
    await session.token(options);
    answers.renew = () => {
      throw new Error('connect ECONNREFUSED');
    };
    await clock.advance(20 * MINUTE_MS);
    assert.equal(log.count('info', 'the token of vault is not renewed'), 1);
    const tried = renewals(asked).length;
    assert.ok(tried > 5 && tried < 30, `${tried}`);
    assert.equal(clock.timers, 0);
    answers.renew = () => auth('', 600);
    assert.deepEqual(await session.token(options), { token: 'token-2', isNew: true });
  });

  it('goes on with the token when Vault is back in time', async (t) => {
    const { session, clock, answers } = setUp(t);
    await session.token(options);
    const { renew } = answers;
    answers.renew = () => {
      throw new VaultRefusal(503, 'Vault is sealed');
    };
    await clock.advance(6 * MINUTE_MS);
    answers.renew = renew;
    await clock.advance(30 * MINUTE_MS);
    assert.deepEqual(await session.token(options), { token: 'token-1', isNew: false });
  });

  it('does not ask again when Vault refuses to renew', async (t) => {
    const { session, clock, asked, answers } = setUp(t);
    await session.token(options);
    answers.renew = () => {
      throw new VaultRefusal(400, 'lease is not renewable');
    };
    await clock.advance(9 * MINUTE_MS);
    assert.equal(renewals(asked).length, 1);
    assert.deepEqual(await session.token(options), { token: 'token-1', isNew: false });
  });

  it('logs in anew after a token was refused', async (t) => {
    const { session } = setUp(t);
    const { token } = await session.token(options);
    session.forget('another');
    assert.ok(!(await session.token(options)).isNew);
    session.forget(token);
    assert.deepEqual(await session.token(options), { token: 'token-2', isNew: true });
  });

  it('tells each who asks when a login fails, and tries anew for the next', async (t) => {
    const { session, answers } = setUp(t);
    const { login } = answers;
    answers.login = () => {
      throw new VaultRefusal(400, 'invalid role or secret ID');
    };
    await assert.rejects(session.token(options), /invalid role or secret ID/);
    answers.login = () => ({ auth: {}, data: {}, warnings: [] });
    await assert.rejects(session.token(options), /has no auth\.client_token/);
    answers.login = login;
    assert.ok((await session.token(options)).isNew);
  });

  it('ends the waiting of one who has gone, not that of others', async (t) => {
    const { session } = setUp(t);
    const own = new AbortController();
    const mine = session.token({ signal: own.signal });
    own.abort(new Error('mine'));
    await assert.rejects(mine, /mine/);
    assert.ok(await session.token(options));
  });

  it('has no timer left when it is closed', async (t) => {
    const { session, clock } = setUp(t);
    await session.token(options);
    assert.equal(clock.timers, 1);
    session.close();
    assert.equal(clock.timers, 0);
  });

  it('takes another token as soon as it is in the file', async (t) => {
    const { session, asked, write } = setUp(t, { type: 'token' });
    assert.deepEqual(await session.token(options), { token: 'secret-1', isNew: true });
    assert.deepEqual(await session.token(options), { token: 'secret-1', isNew: false });
    write('secret-2');
    assert.deepEqual(await session.token(options), { token: 'secret-2', isNew: true });
    write('');
    assert.deepEqual(await session.token(options), { token: 'secret-2', isNew: false });
    assert.deepEqual(asked, ['auth/token/lookup-self secret-1', 'auth/token/lookup-self secret-2']);
  });

  it('renews the token of a file too, and uses one that may not look at itself', async (t) => {
    const { session, clock, asked, answers } = setUp(t, { type: 'token' });
    await session.token(options);
    await clock.advance(5 * MINUTE_MS);
    assert.equal(renewals(asked).length, 1);
    session.forget('secret-1');
    answers.lookUp = () => {
      throw new VaultRefusal(403, 'permission denied');
    };
    assert.deepEqual(await session.token(options), { token: 'secret-1', isNew: true });
    await clock.advance(60 * MINUTE_MS);
    assert.equal(renewals(asked).length, 1);
  });

  it('says what is wrong with the file', async (t) => {
    const { session, write } = setUp(t, { type: 'token' });
    write('two\nlines\n');
    await assert.rejects(session.token(options), /holds no token: expected one line/);
    write(' \n');
    await assert.rejects(session.token(options), /is empty/);
  });
});
