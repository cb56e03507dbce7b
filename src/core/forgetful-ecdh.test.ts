import assert from 'node:assert/strict';
import { createECDH } from 'node:crypto';
import { describe, it } from 'node:test';
import { createForgetfulEcdh } from './forgetful-ecdh.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('createForgetfulEcdh()', () => {
  for (const curve of ['prime256v1', 'secp384r1']) {
    it(`works with a key of ${curve} for one turn, then with none, turn after turn`, async () => {
      const ecdhNow = createForgetfulEcdh(curve);
      const other = createECDH(curve);
      for (let n = 0; n < 2; n++) {
        const point = other.generateKeys();
        ecdhNow().setPrivateKey(other.getPrivateKey());
        const ecdh = ecdhNow();
        assert.deepEqual(ecdh.getPublicKey(), point);
        await turn();
        assert.deepEqual(ecdh.getPrivateKey(), Buffer.of(1));
      }
    });
  }
});
