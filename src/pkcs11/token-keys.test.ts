import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { fakeProcesses, FakeToken } from '../../test/support/fake-cryptoki.ts';
import { FakeLogger, temporaryFolder } from '../../test/support/issuer.ts';
import { systemRandom } from '../core/random.ts';
import { KEY_TYPES, type KeyType } from '../issuer/key-type.ts';
import type { SigningKey } from '../issuer/keys.ts';
import { CK } from './cryptoki.ts';
import { openTokenKeys, type TokenKeys, type TokenKeysConfig } from './token-keys.ts';

const TBS = Buffer.from('what is to be signed');

/** A data folder and a token in it; `open` it as often as wanted. */
function bench(t: TestContext, tokens = [new FakeToken()]) {
  const dir = temporaryFolder(t);
  const { processes, start } = fakeProcesses(tokens);
  const [clock, log] = [new FakeClock(), new FakeLogger()];
  const config: TokenKeysConfig = {
    // Anything that root or this user may write alone.
    module: process.execPath,
    token: { by: 'label', value: 'credence' },
    pin: { text: () => '1234' },
    keyLabel: 'credence',
    trustDomain: 'example.org',
    dataDir: join(dir, 'data'),
    caKeyType: 'ec-p256',
  };
  async function open(overrides: Partial<TokenKeysConfig> = {}): Promise<TokenKeys> {
    const deps = { clock, log, random: systemRandom, start };
    const keys = await openTokenKeys({ ...config, ...overrides }, deps);
    t.after(() => keys.close());
    return keys;
  }
  return { dir, config, token: tokens[0] as FakeToken, processes, clock, log, open };
}

function verifies(key: SigningKey, signature: Buffer): boolean {
  const publicKey = createPublicKey({ key: key.spki, format: 'der', type: 'spki' });
  return verify(KEY_TYPES[key.type].digest, TBS, publicKey, signature);
}

const keyStore = (message: RegExp) => ({ code: 'ERR_KEY_STORE', message });

describe('keys on a token', () => {
  for (const type of ['ec-p256', 'ec-p384', 'rsa-2048'] as const satisfies KeyType[]) {
    it(`makes, finds again and signs with a key of type ${type}`, async (t) => {
      const { open } = bench(t);
      const made = await (await open()).generate(type);
      assert.ok(verifies(made, await made.sign(TBS)));
      const found = await (await open()).load(made.id, type);
      assert.deepEqual([found.id, found.spki], [made.id, made.spki]);
      assert.ok(verifies(made, await found.sign(TBS)));
    });
  }

  it('takes EC points that are not wrapped', async (t) => {
    const { open, token } = bench(t);
    token.barePoints = true;
    const key = await (await open()).generate('ec-p256');
    assert.ok(verifies(key, await key.sign(TBS)));
  });

  it('lists and removes its own keys alone', async (t) => {
    const { open, config, token } = bench(t);
    const mine = await open();
    const other = await open({ dataDir: join(config.dataDir, 'other') });
    const [first, second] = [await mine.generate('ec-p256'), await mine.generate('ec-p256')];
    const foreign = await other.generate('ec-p256');
    assert.deepEqual(await mine.ids(), [first.id, second.id]);
    assert.deepEqual(await other.ids(), [foreign.id]);
    await mine.remove(foreign.id);
    await mine.remove(first.id);
    assert.deepEqual(await mine.ids(), [second.id]);
    assert.equal(token.objects.size, 4);
    await assert.rejects(async () => mine.load(first.id, 'ec-p256'), keyStore(/no key/));
  });

  it('says when a new data folder meets keys of the same trust domain', async (t) => {
    const { open, config, log } = bench(t);
    await (await open()).generate('ec-p256');
    await open();
    assert.equal(log.count('warn', 'other daemons'), 0);
    await open({ dataDir: join(config.dataDir, 'other') });
    assert.equal(log.count('warn', 'other daemons'), 1);
  });

  it('signs while a key is made, which may take long', async (t) => {
    const { open, token, clock } = bench(t);
    const keys = await open();
    const key = await keys.generate('ec-p256');
    let made = (): void => undefined;
    token.whileMaking = new Promise((resolve) => (made = resolve));
    const making = keys.generate('rsa-2048');
    await clock.advance(60_000);
    assert.ok(verifies(key, await key.sign(TBS)));
    made();
    const slow = await making;
    assert.ok(verifies(slow, await slow.sign(TBS)));
  });

  it('gives a key up that is not made in 3 minutes', async (t) => {
    const { open, token, clock } = bench(t);
    const keys = await open();
    token.whileMaking = new Promise(() => undefined);
    const failed = assert.rejects(keys.generate('rsa-2048'), keyStore(/for 180 s/));
    await clock.advance(180_000);
    await failed;
  });

  it('makes keys with a module that knows no threads', async (t) => {
    const { open, token } = bench(t);
    token.singleThreaded = true;
    const key = await (await open()).generate('ec-p256');
    assert.ok(verifies(key, await key.sign(TBS)));
    assert.equal(token.count('C_GenerateKeyPairAsync'), 0);
  });

  it('finds what a crash left without its name', async (t) => {
    const { open, token, clock } = bench(t);
    const keys = await open();
    token.fail('C_SetAttributeValue', 'CKR_DEVICE_REMOVED');
    token.fail('C_DestroyObject', 'CKR_DEVICE_REMOVED', 2);
    await assert.rejects(keys.generate('ec-p256'), keyStore(/CKR_DEVICE_REMOVED/));
    await clock.advance(1000);
    const [left = ''] = await keys.ids();
    await keys.remove(left);
    assert.equal(token.objects.size, 0);
  });

  it('goes on in its session when the token is full', async (t) => {
    const { open, token, processes } = bench(t);
    const keys = await open();
    token.fail('C_GenerateKeyPairAsync', 'CKR_DEVICE_MEMORY');
    await assert.rejects(keys.generate('ec-p256'), keyStore(/CKR_DEVICE_MEMORY/));
    await keys.generate('ec-p256');
    assert.equal(processes.started, 1);
  });

  it('refuses a key of another type than the journal says', async (t) => {
    const { open } = bench(t);
    const keys = await open();
    const { id } = await keys.generate('ec-p384');
    await assert.rejects(async () => keys.load(id, 'ec-p256'), keyStore(/ec-p256/));
    await assert.rejects(async () => keys.load(id, 'rsa-2048'), keyStore(/rsa-2048/));
  });

  it('refuses a token whose keys can be taken out, and leaves none', async (t) => {
    const { open, token } = bench(t);
    token.extractable = true;
    await assert.rejects((await open()).generate('ec-p256'), keyStore(/taken out/));
    assert.equal(token.objects.size, 0);
  });

  it('lets no wrong signature out', async (t) => {
    const { open, token } = bench(t);
    const key = await (await open()).generate('ec-p256');
    token.spoil = (signature) => {
      signature.writeUInt8(signature.readUInt8(40) ^ 1, 40);
      return signature;
    };
    await assert.rejects(async () => key.sign(TBS), keyStore(/does not verify/));
    token.spoil = (signature) => signature.subarray(1);
    await assert.rejects(async () => key.sign(TBS), keyStore(/63 bytes/));
  });

  it('gives up its processes when it is closed', async (t) => {
    const { open, processes } = bench(t);
    const keys = await open();
    const key = await keys.generate('ec-p256');
    keys.close();
    assert.equal(processes.running, 0);
    await assert.rejects(async () => key.sign(TBS), { code: 'ERR_SHUTDOWN' });
  });
});

describe('opening a token', () => {
  it('says which token is not there, and which are', async (t) => {
    const { open } = bench(t);
    await assert.rejects(open({ token: { by: 'serial', value: '77' } }), {
      ...keyStore(/serial number "77" is not there/),
      hint: 'the module has "credence" (0001)',
    });
  });

  it('wants the serial number where two tokens have the label', async (t) => {
    const second = new FakeToken();
    second.serialNumber = '0002';
    const { open } = bench(t, [new FakeToken(), second]);
    await assert.rejects(open(), {
      ...keyStore(/not the only one/),
      hint: 'set issuer.key_manager.pkcs11.serial, to one of 0001, 0002',
    });
    const key = await (await open({ token: { by: 'serial', value: '0002' } })).generate('ec-p256');
    assert.ok(verifies(key, await key.sign(TBS)));
    assert.equal(second.objects.size, 2);
    await open({ token: { by: 'slot', value: 1 } });
  });

  it('names the mechanism that a token lacks', async (t) => {
    const { open, token } = bench(t);
    token.mechanisms = [CK.CKM_EC_KEY_PAIR_GEN];
    await assert.rejects(open(), keyStore(/does not offer CKM_ECDSA, which ec-p256 needs/));
  });

  it('refuses a module that others may write', async (t) => {
    const { open, dir } = bench(t);
    const module = join(dir, 'module.so');
    writeFileSync(module, '', { mode: 0o777, flag: 'w' });
    await assert.rejects(open({ module: join(dir, 'none.so') }), keyStore(/ENOENT/));
    chmodSync(module, 0o775);
    await assert.rejects(open({ module }), keyStore(/may be written by others/));
  });

  it('tries a wrong PIN once, over restarts too, and another one at once', async (t) => {
    const { open, token, dir, config } = bench(t);
    const file = join(dir, 'pin');
    const write = (pin: string) => writeFileSync(file, `${pin}\n`, { mode: 0o600 });
    write('9999');
    const pin = { file };
    await assert.rejects(open({ pin }), keyStore(/refuses the login: CKR_PIN_INCORRECT/));
    for (let n = 0; n < 3; n++) await assert.rejects(open({ pin }), keyStore(/refused this PIN/));
    assert.equal(token.count('C_Login'), 1);
    const mark = join(config.dataDir, 'pkcs11-refused-pin');
    assert.doesNotMatch(readFileSync(mark, 'utf8'), /9999/);
    write('1234');
    await open({ pin });
    assert.ok(!existsSync(mark));
  });

  it('never tries the last PIN before a token is locked', async (t) => {
    const { open, token } = bench(t);
    token.flags = CK.CKF_USER_PIN_FINAL_TRY;
    await assert.rejects(open(), keyStore(/one more wrong PIN would lock/));
    token.flags = CK.CKF_USER_PIN_LOCKED;
    await assert.rejects(open(), keyStore(/is locked/));
    assert.equal(token.count('C_Login'), 0);
  });
});

describe('a token that is lost', () => {
  for (const code of [
    'CKR_SESSION_HANDLE_INVALID',
    'CKR_USER_NOT_LOGGED_IN',
    'CKR_GENERAL_ERROR',
  ]) {
    it(`signs after ${code} in another session`, async (t) => {
      const { open, token, processes, log } = bench(t);
      const key = await (await open()).generate('ec-p256');
      await key.sign(TBS);
      const before = processes.started;
      token.fail('C_SignInit', code);
      assert.ok(verifies(key, await key.sign(TBS)));
      assert.equal(processes.started, before + 1);
      assert.equal(log.count('warn', 'opened anew'), 1);
    });
  }

  it('signs again after its process crashed in the middle of many calls', async (t) => {
    const { open, processes } = bench(t);
    const key = await (await open()).generate('ec-p256');
    await key.sign(TBS);
    const before = processes.started;
    const many = Array.from({ length: 100 }, async () => key.sign(TBS));
    await Promise.resolve();
    processes.crash();
    for (const signature of await Promise.all(many)) assert.ok(verifies(key, signature));
    assert.equal(processes.started, before + 1);
  });

  it('fails at once while it is away, tries again in time, and goes on when it is back', async (t) => {
    const { open, token, processes, clock, log } = bench(t);
    const key = await (await open()).generate('ec-p256');
    await key.sign(TBS);
    token.present = false;
    await assert.rejects(async () => key.sign(TBS), keyStore(/is not there/));
    const started = processes.started;
    for (let n = 0; n < 5; n++)
      await assert.rejects(async () => key.sign(TBS), keyStore(/not there/));
    assert.equal(processes.started, started);
    await clock.advance(30_000);
    await assert.rejects(async () => key.sign(TBS), keyStore(/is not there/));
    assert.equal(processes.started, started + 1);
    token.present = true;
    await clock.advance(30_000);
    assert.ok(verifies(key, await key.sign(TBS)));
    assert.equal(log.count('info', 'can be used again'), 1);
  });

  it('does not start one process after the other for a key that is gone', async (t) => {
    const { open, token, processes } = bench(t);
    const keys = await open();
    const key = await keys.generate('ec-p256');
    await key.sign(TBS);
    token.objects.clear();
    const before = processes.started;
    const gone = keyStore(/there is no key|CKR_/);
    for (let n = 0; n < 20; n++) await assert.rejects(async () => key.sign(TBS), gone);
    assert.ok(processes.started <= before + 2, `${processes.started - before} processes`);
    assert.deepEqual(await keys.ids(), []);
  });

  it('ends a module that does not answer for 10 s', async (t) => {
    const { open, processes, clock, log } = bench(t);
    const key = await (await open()).generate('ec-p256');
    await key.sign(TBS);
    processes.hang = true;
    const failed = assert.rejects(async () => key.sign(TBS), keyStore(/did not answer for 10 s/));
    await clock.advance(10_000);
    await failed;
    assert.equal(processes.running, 0);
    assert.equal(log.count('warn', 'opened anew'), 1);
    processes.hang = false;
    await clock.advance(60_000);
    assert.ok(verifies(key, await key.sign(TBS)));
  });

  it('refuses more calls than it can remember', async (t) => {
    const { open, processes, clock } = bench(t);
    const key = await (await open()).generate('ec-p256');
    await key.sign(TBS);
    processes.hang = true;
    const many = Array.from({ length: 4096 }, async () => key.sign(TBS));
    const settled = Promise.allSettled(many);
    await assert.rejects(async () => key.sign(TBS), keyStore(/4096 calls wait/));
    await clock.advance(60_000);
    await settled;
  });
});
