import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import { pemBytes } from './pem.ts';
import { PrivateKey } from './private-key.ts';

describe('pemBytes()', () => {
  it('has base64 in lines of 64, as RFC 7468 wants it, for any length', () => {
    for (let length = 0; length < 200; length++) {
      const bytes = Buffer.from(Array.from({ length }, (_, n) => (n * 37) & 0xff));
      const [first, ...rest] = pemBytes('CERTIFICATE', bytes).toString('latin1').split('\n');
      assert.equal(first, '-----BEGIN CERTIFICATE-----');
      assert.deepEqual(rest.splice(-2), ['-----END CERTIFICATE-----', '']);
      assert.deepEqual(Buffer.from(rest.join(''), 'base64'), bytes);
      rest.forEach((line, n) => {
        if (n < rest.length - 1) assert.equal(line.length, 64);
        else assert.ok(line.length > 0 && line.length <= 64);
      });
    }
  });

  it('is what Node and OpenSSL write, for keys of many lengths', () => {
    const lengths = new Set<number>();
    for (let modulusLength = 512; modulusLength < 768; modulusLength += 8) {
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength });
      const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' });
      lengths.add(pkcs8.length % 48);
      const expected = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
      assert.equal(new PrivateKey(pkcs8).pem().toString('latin1'), expected);
    }
    // A line holds 48 bytes; its last one was of many lengths.
    assert.ok(lengths.size > 12, `${lengths.size} lengths`);
  });

  it('encodes a part of a larger buffer, and nothing around it', () => {
    const all = Buffer.alloc(300, 7);
    all.fill(1, 100, 148);
    const expected = pemBytes('X', Buffer.alloc(48, 1)).toString();
    assert.equal(pemBytes('X', all.subarray(100, 148)).toString(), expected);
  });

  it('puts more PEM behind it as it is, at any length', () => {
    const issuer = pemBytes('CERTIFICATE', Buffer.from('issuer'));
    for (let length = 0; length < 100; length++) {
      const leaf = Buffer.alloc(length, length);
      const expected = Buffer.concat([pemBytes('CERTIFICATE', leaf), issuer]);
      assert.deepEqual(pemBytes('CERTIFICATE', leaf, issuer), expected);
    }
  });

  it('shares its memory with nobody', () => {
    const pem = pemBytes('PRIVATE KEY', Buffer.alloc(48, 1));
    assert.equal(pem.buffer.byteLength, pem.length);
  });
});
