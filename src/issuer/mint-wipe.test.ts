import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { issuerDeps, WEB } from '../../test/support/issuer.ts';
import { IdentityError } from '../core/errors.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { createLeafKeySource, type LeafKey } from './leaf-keys.ts';
import { createMint } from './mint.ts';

describe('a mint that fails', () => {
  it('leaves nothing of the key that was made for it', async () => {
    const makeKey = createLeafKeySource('ec-p256');
    const made: LeafKey[] = [];
    const { clock, random } = issuerDeps();
    const mint = createMint({
      clock,
      random,
      trustDomain: parseTrustDomain('example.org'),
      defaultTtlMs: 3_600_000,
      leafKeys: async (options) => {
        const key = await makeKey(options);
        made.push(key);
        return key;
      },
      ca: {
        current: () => undefined,
        usable: () => Promise.reject(new IdentityError('ERR_ISSUER', 'no CA')),
      },
    });
    await assert.rejects(mint({ id: WEB, dnsNames: [] }, {}), { message: 'no CA' });
    assert.deepEqual(
      made.map(({ pkcs8 }) => pkcs8.every((byte) => byte === 0)),
      [true],
    );
  });
});
