import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign, verify } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { KEY_TYPES } from '../issuer/key-type.ts';
import { ecdsaDer, ecSpki, rsaSpki, toBeSigned } from './forms.ts';

const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const spkiOf = ec.publicKey.export({ type: 'spki', format: 'der' });
const point = spkiOf.subarray(-65);

describe('what a token gives and takes', () => {
  it('makes DER of signatures that verifies', () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 64 });
    fc.assert(
      fc.property(bytes, (data) => {
        const raw = sign('sha256', data, { key: ec.privateKey, dsaEncoding: 'ieee-p1363' });
        assert.ok(verify('sha256', data, ec.publicKey, ecdsaDer('ec-p256', raw)));
      }),
    );
  });

  it('makes the shortest DER of any two numbers', () => {
    const half = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(half, half, fc.nat(32), (r, s, zeros) => {
        r.fill(0, 0, zeros);
        const der = ecdsaDer('ec-p256', Buffer.concat([r, s]));
        assert.equal(der.length, 2 + der.readUInt8(1));
        const length = der.readUInt8(3);
        const value = der.subarray(4, 4 + length);
        assert.deepEqual(
          BigInt(`0x${value.toString('hex')}`),
          BigInt(`0x${Buffer.from(r).toString('hex')}`),
        );
        assert.ok(value.readUInt8(0) < 0x80);
        if (length > 1 && value.readUInt8(0) === 0) assert.ok(value.readUInt8(1) >= 0x80);
      }),
    );
  });

  it('refuses signatures of another length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (raw) => {
        fc.pre(raw.length !== 64);
        assert.throws(() => ecdsaDer('ec-p256', Buffer.from(raw)), { code: 'ERR_KEY_STORE' });
      }),
    );
  });

  it('takes a point wrapped and bare', () => {
    assert.deepEqual(ecSpki('ec-p256', point), spkiOf);
    assert.deepEqual(ecSpki('ec-p256', Buffer.concat([Buffer.of(4, 65), point])), spkiOf);
  });

  it('refuses what is no point of the curve', () => {
    const value = fc.oneof(
      fc.uint8Array({ maxLength: 120 }),
      fc.uint8Array({ minLength: 64, maxLength: 64 }).map((xy) => Uint8Array.of(4, ...xy)),
      fc.uint8Array({ minLength: 64, maxLength: 64 }).map((xy) => Uint8Array.of(4, 65, 4, ...xy)),
    );
    fc.assert(
      fc.property(value, (bytes) => assert.throws(() => ecSpki('ec-p256', Buffer.from(bytes)))),
    );
    assert.throws(() => ecSpki('ec-p384', point), { code: 'ERR_KEY_STORE' });
    assert.throws(() => ecSpki('rsa-2048', point), { code: 'ERR_BUG' });
  });

  it('takes an RSA key of its type alone', () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const { n = '', e = '' } = publicKey.export({ format: 'jwk' });
    const [modulus, exponent] = [Buffer.from(n, 'base64url'), Buffer.from(e, 'base64url')];
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    assert.deepEqual(rsaSpki('rsa-2048', modulus, exponent), spki);
    // As some tokens write a number that could be taken for a negative one.
    assert.deepEqual(rsaSpki('rsa-2048', Buffer.concat([Buffer.of(0), modulus]), exponent), spki);
    assert.throws(() => rsaSpki('rsa-3072', modulus, exponent), { code: 'ERR_KEY_STORE' });
    assert.throws(() => rsaSpki('ec-p256', modulus, exponent), { code: 'ERR_KEY_STORE' });
  });

  it('has RSA digests in a DigestInfo and EC digests as they are', () => {
    const digest = createHash('sha256').update('x').digest();
    assert.deepEqual(toBeSigned('ec-p256', digest), digest);
    assert.equal(toBeSigned('rsa-2048', digest).length, 19 + 32);
    assert.equal(KEY_TYPES['rsa-4096'].digest, 'sha256');
  });
});
