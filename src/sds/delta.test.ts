import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  decodeDeltaResponse,
  encodeDeltaRequest,
  type DeltaRequestFields,
} from '../../test/support/delta-proxy.ts';
import { IdentityError } from '../core/errors.ts';
import { decodeDeltaDiscoveryRequest } from './delta-messages.ts';
import { delta } from './delta.ts';
import { encodeCertificateSecret, encodeResource } from './secret-messages.ts';
import { Subscription } from './subscription.ts';

const LIMITS = { maxNames: 5, maxNameBytes: 40 };
const codec = delta('credence/test');

const read = (fields: DeltaRequestFields) =>
  decodeDeltaDiscoveryRequest(encodeDeltaRequest(fields), LIMITS);

/** What a subscription watches after these requests, and what the last of them meant. */
function after(...requests: readonly DeltaRequestFields[]) {
  const subscription = new Subscription();
  const applied = requests.map((fields) => codec.apply(read(fields), subscription)).at(-1);
  return { names: [...subscription.names()], wildcard: subscription.wildcard, applied };
}

describe('delta()', () => {
  it('takes `*` for a name like any other where strangers choose the names', () => {
    for (const subscribe of [['*'], []]) {
      const subscription = new Subscription(true);
      const names = () => [subscription.wildcard, [...subscription.names()]];
      codec.apply(read({ subscribe }), subscription);
      assert.deepEqual(names(), [false, ['*']]);
      codec.apply(read({ subscribe: ['a'] }), subscription);
      codec.apply(read({}), subscription);
      assert.deepEqual(names(), [false, ['*', 'a']]);
      codec.apply(read({ unsubscribe: ['*'] }), subscription);
      assert.deepEqual(names(), [false, ['a']]);
    }
  });

  it('adds and takes away names, in one message and over several', () => {
    const first = { subscribe: ['a', 'b'] };
    assert.deepEqual(after(first).names, ['a', 'b']);
    assert.deepEqual(after(first, { subscribe: ['c'], unsubscribe: ['a'] }).names, ['b', 'c']);
    // Unsubscribed and subscribed again, coalesced by the proxy: it is watched.
    assert.deepEqual(after(first, { subscribe: ['a'], unsubscribe: ['a'] }).names, ['b', 'a']);
  });

  it('takes a first request without names for everything, and a later one for an answer', () => {
    assert.equal(after({}).wildcard, true);
    assert.equal(after({ subscribe: ['a'] }, {}).wildcard, false);
    assert.equal(after({ subscribe: ['*', 'a'] }).wildcard, true);
    assert.equal(after({ subscribe: ['*', 'a'] }, { unsubscribe: ['*'] }).wildcard, false);
    assert.deepEqual(after({ subscribe: ['*', 'a'] }, { unsubscribe: ['*'] }).names, ['a']);
  });

  it('tells a refusal by its error, and an unknown nonce from both', () => {
    const subscription = new Subscription();
    codec.apply(read({ subscribe: ['a'] }), subscription);
    subscription.sent('n1', [{ name: 'a', version: 'v1', svid: undefined }], 0);
    const { answer } = codec.apply(read({ nonce: 'n1', error: 'no' }), subscription);
    assert.deepEqual(answer, { kind: 'current', error: 'no', refused: ['a'] });
    assert.equal(subscription.isDue('a', 'v1'), false);
    assert.equal(subscription.isDue('a', 'v2'), true);
    const stale = codec.apply(read({ nonce: 'of another stream' }), subscription);
    assert.deepEqual(stale.answer, { kind: 'stale', error: undefined, refused: [] });
  });

  it('writes what another implementation reads', () => {
    const secret = encodeCertificateSecret('a', {
      chainPem: Buffer.from('chain'),
      keyPem: Buffer.from('key'),
    });
    const resource = { name: 'a', version: 'v1', resource: encodeResource(secret) };
    const response = decodeDeltaResponse(codec.encode('n1', [resource], ['b', 'c']));
    assert.deepEqual(response, {
      nonce: 'n1',
      systemVersion: 'v1',
      typeUrl: 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
      controlPlane: 'credence/test',
      resources: [
        {
          name: 'a',
          version: 'v1',
          secret: { kind: 'certificate', name: 'a', chain: 'chain', key: 'key' },
        },
      ],
      removed: ['b', 'c'],
    });
  });
});

describe('decodeDeltaDiscoveryRequest()', () => {
  it('reads the names, nonce and error, and passes over what a proxy says it holds', () => {
    const request = read({
      ...{ subscribe: ['a'], unsubscribe: ['b'], nonce: 'n', error: 'no' },
      ...{ initial: { a: 'v' }, node: { id: 'p' } },
    });
    assert.deepEqual([request.subscribe, request.unsubscribe], [['a'], ['b']]);
    assert.deepEqual([request.responseNonce, request.errorDetail?.message], ['n', 'no']);
    assert.equal(request.node?.id, 'p');
  });

  it('refuses too many and too long names', () => {
    const many = Array.from({ length: 6 }, (_, n) => `${n}`);
    for (const fields of [{ subscribe: many }, { unsubscribe: many }]) {
      assert.throws(() => read(fields), { code: 'ERR_LIMIT' });
    }
    assert.throws(() => read({ subscribe: ['a'.repeat(41)] }), { code: 'ERR_LIMIT' });
  });

  it('lets a proxy at the limit exchange all its names in one message', () => {
    const names = (who: string) => Array.from({ length: 5 }, (_, n) => `${who}${n}`);
    const exchange = { subscribe: names('b'), unsubscribe: names('a') };
    assert.deepEqual(after({ subscribe: names('a') }, exchange).names, names('b'));
  });

  it('throws nothing but its own errors, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        try {
          decodeDeltaDiscoveryRequest(bytes, LIMITS);
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError);
          assert.ok(['ERR_BAD_REQUEST', 'ERR_LIMIT'].includes(thrown.code), thrown.code);
        }
      }),
    );
  });
});
