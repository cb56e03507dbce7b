import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { foreignCas } from '../../test/support/upstream.ts';
import { IdentityError } from '../core/errors.ts';
import { MAX_BUNDLE_BYTES, parseBundle } from './parse.ts';

const { make } = foreignCas();
const root = make({ name: 'partner root' });
const other = make({ name: 'another root', newKey: ['rsa:2048'] });
const below = make({ name: 'below', issuer: root });
const weak = make({ name: 'weak', newKey: ['rsa:1024'] });
const leaf = make({ name: 'leaf', extensions: ['basicConstraints=critical,CA:FALSE'] });

const derOf = (pem: string) => new X509Certificate(pem).raw;
const keyOf = (pem: string, more: object = {}) => ({
  use: 'x509-svid',
  kty: 'EC',
  x5c: [derOf(pem).toString('base64')],
  ...more,
});
const jwks = (...keys: readonly unknown[]) => JSON.stringify({ keys });
const hexOf = (text: string) =>
  parseBundle(text).roots.map(({ der }) => Buffer.from(der).toString('hex'));
const refusal = (text: string) => {
  try {
    parseBundle(text);
  } catch (thrown) {
    assert.ok(thrown instanceof IdentityError && thrown.code === 'ERR_BAD_REQUEST', String(thrown));
    return thrown.message;
  }
  return assert.fail('it was taken');
};

describe('parseBundle()', () => {
  it('reads the same roots from PEM and from a SPIFFE bundle, in whatever order, each once', () => {
    const pem = hexOf(`# of the partner\n${root.cert}between\n${other.cert}${root.cert}`);
    assert.deepEqual(
      pem,
      [derOf(root.cert), derOf(other.cert)].map((d) => d.toString('hex')).sort(),
    );
    assert.deepEqual(hexOf(jwks(keyOf(other.cert, { kty: 'RSA' }), keyOf(root.cert))), pem);
  });

  it('skips keys of other uses and unknown types (BU-11, BU-14)', () => {
    const mixed = jwks(
      keyOf(other.cert, { use: 'jwt-svid' }),
      keyOf(other.cert, { use: 'X509-SVID' }),
      keyOf(other.cert, { kty: 'AKP' }),
      { kty: 'EC' },
      null,
      'text',
      keyOf(root.cert),
    );
    assert.deepEqual(hexOf(mixed), [derOf(root.cert).toString('hex')]);
  });

  it('takes a set without roots for what it says: nobody is trusted (BU-12)', () => {
    assert.deepEqual(parseBundle('{"keys":[]}'), { roots: [], format: 'spiffe' });
  });

  it('does not need what may be left out, or more than 53 bits of a sequence', () => {
    const document = `{"spiffe_sequence":18446744073709551615,"extra":1,"keys":[${JSON.stringify(keyOf(root.cert))}]}`;
    assert.equal(parseBundle(document).roots.length, 1);
  });

  it('says what is wrong', () => {
    assert.match(refusal(''), /expected roots as PEM or a SPIFFE bundle, found neither/);
    assert.match(refusal(root.cert + root.key), /certificates alone, found a block of/);
    assert.match(refusal(root.cert.slice(0, -30)), /found neither|cut short/);
    assert.match(
      refusal(root.cert + below.cert),
      /certificate 2: expected a root that is signed by itself/,
    );
    assert.match(refusal(leaf.cert), /certificate 1: expected a CA/);
    assert.match(refusal(weak.cert), /RSA key of 2048 bits/);
    assert.match(refusal('{"keys":null}'), /a list "keys"/);
    assert.match(refusal('{"keys":'), /expected a SPIFFE bundle in JSON/);
    assert.match(refusal(jwks(keyOf(root.cert, { x5c: [] }))), /keys\[0\]: expected x5c/);
    const chain = [root, other].map(({ cert }) => derOf(cert).toString('base64'));
    assert.match(refusal(jwks(keyOf(root.cert, { x5c: chain }))), /keys\[0\]: expected x5c/);
    assert.match(
      refusal(`${root.cert}${' '.repeat(MAX_BUNDLE_BYTES)}`),
      /larger than 262144 bytes/,
    );
  });

  it('refuses whatever else comes with a sentence', () => {
    const edited = fc
      .tuple(fc.constantFrom(root.cert, jwks(keyOf(root.cert))), fc.nat(), fc.string())
      .map(
        ([text, at, put]) => text.slice(0, at % text.length) + put + text.slice(at % text.length),
      );
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), edited), (text) => {
        try {
          assert.ok(parseBundle(text).roots.length <= 1);
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError && thrown.code === 'ERR_BAD_REQUEST');
        }
      }),
    );
  });
});
