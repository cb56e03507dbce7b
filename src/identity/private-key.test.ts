import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import { format, inspect } from 'node:util';
import { createLogger } from '../core/log.ts';
import { IdentityError } from '../core/errors.ts';
import { PrivateKey } from './private-key.ts';

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const der = pair.privateKey.export({ format: 'der', type: 'pkcs8' });
const key = new PrivateKey(der);

/** Any sixteen bytes of the secret, in the ways that bytes are printed. */
function assertSecret(text: string): void {
  const { d = '' } = pair.privateKey.export({ format: 'jwk' });
  const secret = Buffer.from(d, 'base64url');
  for (let at = 0; at + 8 <= secret.length; at++) {
    const part = secret.subarray(at, at + 8);
    const hex = part.toString('hex');
    for (const printed of [
      hex,
      hex.toUpperCase(),
      hex.replace(/..(?=.)/g, '$& '),
      [...part].join(','),
      [...part].join(', '),
      part.toString('latin1'),
    ]) {
      assert.ok(!text.includes(printed), `"${text}" shows the key`);
    }
  }
  for (let at = 0; at < 3; at++) {
    const base64 = der.subarray(36 + at, 36 + at + 30).toString('base64');
    assert.ok(!text.includes(base64.slice(0, 24)), `"${text}" shows the key`);
  }
  assert.ok(!text.includes('PRIVATE KEY'));
}

describe('PrivateKey', () => {
  for (const [what, print] of [
    ['JSON', () => JSON.stringify(key)],
    ['JSON of what holds it', () => JSON.stringify({ svid: { keys: [key] } })],
    ['String()', () => String(key)],
    ['a template', () => `<${key as unknown as string}>`],
    ['concatenation', () => 'key: ' + String(key)],
    ['inspect()', () => inspect(key)],
    ['inspect() of what holds it', () => inspect({ svid: { keys: [key] } }, { depth: 9 })],
    ['format(%s)', () => format('%s', key)],
    ['format(%o)', () => format('%o', key)],
    ['format(%O)', () => format('%O', key)],
    ['format(%j)', () => format('%j', key)],
    ['an error whose cause it is', () => inspect(new Error('failed', { cause: key }))],
  ] as const) {
    it(`is not shown by ${what}`, () => {
      const text = print();
      assertSecret(text);
      assert.match(text, /\[redacted\]/);
    });
  }

  it('is not shown by inspect() when that shows all it can', () => {
    assertSecret(inspect(key, { showHidden: true, customInspect: false, depth: 9 }));
    assert.deepEqual(Object.keys(key), []);
    assert.deepEqual(Reflect.ownKeys(key), []);
  });

  it('is not shown by the log, as a field or behind an error', () => {
    let text = '';
    const log = createLogger({ level: 'debug', write: (line) => (text += line) });
    log.info({ detail: key as unknown as string }, 'as a field');
    log.info({ err: new IdentityError('ERR_BUG', 'oops', { cause: key }) }, 'as a cause');
    log.info({ err: key }, 'as an error');
    log.child({ reason: key as unknown as string }).info({}, 'in a child');
    assert.equal(text.trim().split('\n').length, 4);
    assertSecret(text);
  });

  it('is not copied by a structured clone', () => {
    assert.deepEqual(structuredClone(key), {});
  });

  it('gives its bytes to those that ask', () => {
    assert.deepEqual(Buffer.from(key.pkcs8()), der);
    assert.equal(
      key.pem().toString(),
      pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    );
    assert.ok(createPublicKey(key.keyObject()).equals(pair.publicKey));
    assert.ok(createPrivateKey(key.pem()).equals(pair.privateKey));
  });

  it('is gone once wiped, and never stands for zeros', () => {
    const bytes = Buffer.from(der);
    const wiped = new PrivateKey(bytes);
    wiped.wipe();
    wiped.wipe();
    assert.deepEqual(bytes, Buffer.alloc(der.length));
    for (const use of [() => wiped.pkcs8(), () => wiped.pem(), () => wiped.keyObject()]) {
      assert.throws(use, { code: 'ERR_BUG' });
    }
  });
});
