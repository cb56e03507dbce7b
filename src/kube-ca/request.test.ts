import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { openssl } from '../../test/support/issuer.ts';
import { fromBase64 } from '../../test/support/request-signer.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { generatePrivateKey, localSigningKey } from '../issuer/keys.ts';
import { encodeRequest, nodeLabel } from './request.ts';

const trustDomain = parseTrustDomain('example.org');
const newKey = async () => localSigningKey(await generatePrivateKey('ec-p256'), 'ec-p256');

describe('encodeRequest()', () => {
  it('names the node in the subject, and asks for a CA of the trust domain', async () => {
    const request = await encodeRequest(await newKey(), { trustDomain, nodeName: 'n1.lan' });
    const shown = openssl(['req', '-noout', '-verify', '-text'], fromBase64(request.text));
    assert.match(shown, /Subject: O ?= ?example\.org, CN ?= ?Credence node n1\.lan/);
    assert.match(shown, /CA:TRUE, pathlen:0/);
    assert.match(shown, /URI:spiffe:\/\/example\.org/);
    assert.match(shown, /verif\w+ OK/i);
  });

  it('has the same name for the same key, and knows another signature of the same', async () => {
    const key = await newKey();
    const asker = { trustDomain, nodeName: 'n1' };
    const [one, two] = [await encodeRequest(key, asker), await encodeRequest(key, asker)];
    assert.equal(one.name, two.name);
    assert.match(one.name, /^credence-n1-[0-9a-f]{40}$/);
    assert.notEqual(one.text, two.text);
    assert.ok(one.isSame(two.text));
    const others = [
      await encodeRequest(await newKey(), asker),
      await encodeRequest(key, { ...asker, nodeName: 'n2' }),
    ];
    for (const other of others) {
      assert.ok(!one.isSame(other.text));
      assert.notEqual(other.name, one.name);
    }
  });

  it('makes names that the API takes, of whatever a node is called', async () => {
    const key = await newKey();
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 300 }), async (nodeName) => {
        const { name } = await encodeRequest(key, { trustDomain, nodeName });
        assert.match(`${name}-32`, /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);
        assert.ok(name.length + 3 <= 253);
        assert.match(nodeLabel({ trustDomain, nodeName }), /^[0-9a-f]{40}$/);
      }),
      { numRuns: 50 },
    );
  });

  it('takes nothing else for the same request', async () => {
    const request = await encodeRequest(await newKey(), { trustDomain, nodeName: 'n1' });
    const bytes = Buffer.from(request.text, 'base64');
    const mutated = fc
      .tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }))
      .map(([at, by]) => {
        const copy = Buffer.from(bytes);
        copy[at] = (copy[at] ?? 0) ^ by;
        return copy.toString('base64');
      });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.base64String(), fc.jsonValue()), (text) => {
        // A changed signature asks for the same, if it is still one at all.
        assert.equal(typeof request.isSame(text), 'boolean');
        if (typeof text !== 'string' || text.length < 200) assert.ok(!request.isSame(text));
      }),
    );
    assert.ok(!request.isSame(undefined));
    assert.ok(!request.isSame('A'.repeat(200_000)));
  });
});
