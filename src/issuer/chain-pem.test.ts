import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pemBytes } from '../identity/private-key.ts';
import { chainPem } from './chain-pem.ts';

describe('chainPem()', () => {
  it('is the PEM of the leaf with its issuer behind it, at any length', () => {
    const issuer = pemBytes('CERTIFICATE', Buffer.from('issuer'));
    for (let length = 1; length < 400; length++) {
      const leaf = Buffer.from(Array.from({ length }, (_, n) => (n * 151 + length) & 0xff));
      const expected = Buffer.concat([pemBytes('CERTIFICATE', leaf), issuer]);
      assert.equal(chainPem(leaf, issuer).toString(), expected.toString());
    }
  });
});
