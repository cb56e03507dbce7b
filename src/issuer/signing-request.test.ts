import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { KEY_TYPES, type KeyType } from './key-type.ts';
import { generatePrivateKey, localSigningKey } from './keys.ts';
import { createSigningRequest } from './signing-request.ts';

const DOMAIN = parseTrustDomain('example.org');

async function textOf(type: KeyType, commonName?: string): Promise<string> {
  const key = localSigningKey(await generatePrivateKey(type), type);
  const request = await createSigningRequest(key, DOMAIN, commonName);
  const args = ['req', '-inform', 'DER', '-verify', '-noout', '-text'];
  return execFileSync('openssl', args, { input: request, encoding: 'utf8', stdio: 'pipe' });
}

describe('createSigningRequest()', () => {
  for (const type of Object.keys(KEY_TYPES) as KeyType[]) {
    if (type === 'rsa-3072' || type === 'rsa-4096') continue;
    it(`asks for a CA that signs leaves alone, with a key of type ${type}`, async () => {
      const text = await textOf(type);
      assert.match(text, /Subject: O = example\.org, CN = Credence issuing CA [0-9a-f]{16}/);
      assert.match(text, /Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
      assert.match(text, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
      assert.match(text, /Subject Alternative Name: \s*URI:spiffe:\/\/example\.org\n/);
    });
  }

  it('names who it is told to, as far as a name may be long', async () => {
    const text = await textOf('ec-p256', `node ${'n'.repeat(100)}`);
    assert.match(text, /CN = node n{59}\n/);
  });
});
