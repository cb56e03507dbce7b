import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeResponse, SECRET_TYPE } from '../../test/support/secrets.ts';
import type { DiscoveryRequest } from './messages.ts';
import type { Secret } from './resources.ts';
import { encodePlainBundleSecret, encodeResource } from './secret-messages.ts';
import { stateOfTheWorld, versionOf } from './state-of-the-world.ts';
import { Subscription } from './subscription.ts';

const codec = stateOfTheWorld('credence/1.2.3 node=a');

function request(more: Partial<DiscoveryRequest> = {}): DiscoveryRequest {
  return { versionInfo: '', resourceNames: [], typeUrl: SECRET_TYPE, responseNonce: '', ...more };
}

function secret(name: string, version: string): Secret {
  const resource = encodeResource(encodePlainBundleSecret(name, Buffer.from(`pem of ${version}`)));
  return { name, version, resource };
}

/** A stream that asked for `names` and was sent one response. */
function opened(...names: string[]): Subscription {
  const subscription = new Subscription();
  codec.apply(request({ resourceNames: names }), subscription);
  const sent = (names.length > 0 ? names : ['default']).map((name) => ({
    name,
    version: 'v1',
    svid: undefined,
  }));
  subscription.sent('n1', sent, 0);
  return subscription;
}

const names = (subscription: Subscription) => [...subscription.names()].sort();

describe('stateOfTheWorld()', () => {
  it('answers the first request of a stream whatever version and nonce it states', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.boolean(), (versionInfo, responseNonce, failed) => {
        const subscription = new Subscription();
        const errorDetail = failed ? { code: 13, message: 'of another stream' } : undefined;
        const { changed, answer, fault } = codec.apply(
          request({ resourceNames: ['default'], versionInfo, responseNonce, errorDetail }),
          subscription,
        );
        assert.deepEqual([changed, answer, fault], [true, undefined, undefined]);
        assert.equal(subscription.isDue('default', versionInfo), true);
      }),
    );
  });

  it('takes an empty list, or one of empty names, for everything when a stream opens', () => {
    for (const resourceNames of [[], ['', ''], ['*'], ['', '*']]) {
      const subscription = new Subscription();
      codec.apply(request({ resourceNames }), subscription);
      assert.equal(subscription.wildcard, true);
    }
  });

  it('takes an empty list after names for nothing any more', () => {
    const subscription = opened('default');
    const { changed } = codec.apply(request({ responseNonce: 'n1' }), subscription);
    assert.deepEqual([changed, subscription.wildcard, names(subscription)], [true, false, []]);
  });

  it('takes it for nothing also before the first response, once names were stated', () => {
    const subscription = new Subscription();
    codec.apply(request({ resourceNames: ['default'] }), subscription);
    codec.apply(request(), subscription);
    assert.deepEqual([subscription.wildcard, names(subscription)], [false, []]);
  });

  it('keeps on watching everything while the list stays empty', () => {
    const subscription = opened();
    const { changed } = codec.apply(request({ responseNonce: 'n1' }), subscription);
    assert.deepEqual([changed, subscription.wildcard], [false, true]);
  });

  it('goes from everything to names and back', () => {
    const subscription = opened();
    const some = request({ responseNonce: 'n1', resourceNames: ['ROOTCA'] });
    assert.equal(codec.apply(some, subscription).changed, true);
    assert.deepEqual([subscription.wildcard, names(subscription)], [false, ['ROOTCA']]);
    const all = request({ responseNonce: 'n1', resourceNames: ['*'] });
    assert.equal(codec.apply(all, subscription).changed, true);
    assert.equal(subscription.wildcard, true);
  });

  it('counts a name that is listed twice once', () => {
    assert.deepEqual(names(opened('default', 'default', 'ROOTCA')), ['ROOTCA', 'default']);
  });

  it('does not see a change in another order of the names', () => {
    const subscription = opened('default', 'ROOTCA');
    const resourceNames = ['ROOTCA', 'default', 'ROOTCA'];
    const { changed, answer } = codec.apply(
      request({ responseNonce: 'n1', resourceNames }),
      subscription,
    );
    assert.deepEqual(
      [changed, answer],
      [false, { kind: 'current', error: undefined, refused: [] }],
    );
  });

  it('takes changed names from the answer to the newest response alone', () => {
    const subscription = opened('default');
    subscription.sent('n2', [], 0);
    for (const responseNonce of ['n1', '', 'bogus']) {
      const late = request({ responseNonce, resourceNames: ['ROOTCA'] });
      assert.equal(codec.apply(late, subscription).changed, false);
      assert.deepEqual(names(subscription), ['default']);
    }
    const now = request({ responseNonce: 'n2', resourceNames: ['ROOTCA'] });
    assert.equal(codec.apply(now, subscription).changed, true);
  });

  it('takes an acknowledgement that changes the names for both', () => {
    const subscription = opened('default');
    const resourceNames = ['default', 'ROOTCA'];
    const { changed, answer } = codec.apply(
      request({ responseNonce: 'n1', versionInfo: 'v1', resourceNames }),
      subscription,
    );
    assert.deepEqual([changed, answer?.kind], [true, 'current']);
    assert.equal([...subscription.resources()][0]?.acknowledged, 'v1');
  });

  it('tells a refusal by its error detail, never by the version it states', () => {
    for (const versionInfo of ['', 'v0', 'v1', 'bogus']) {
      const refused = opened('default');
      const errorDetail = { code: 13, message: 'key mismatch' };
      const nack = request({
        responseNonce: 'n1',
        versionInfo,
        resourceNames: ['default'],
        errorDetail,
      });
      const { answer, changed } = codec.apply(nack, refused);
      const said = { kind: 'current', error: 'key mismatch', refused: ['default'] };
      assert.deepEqual([answer, changed], [said, false]);
      const accepted = opened('default');
      const ack = request({ responseNonce: 'n1', versionInfo, resourceNames: ['default'] });
      assert.equal(codec.apply(ack, accepted).answer?.error, undefined);
      assert.equal([...accepted.resources()][0]?.acknowledged, 'v1');
    }
  });

  it('has words for a refusal without any', () => {
    const errorDetail = { code: 13, message: '' };
    const { answer } = codec.apply(
      request({ responseNonce: 'n1', resourceNames: ['default'], errorDetail }),
      opened('default'),
    );
    assert.equal(answer?.error, 'no reason given');
  });

  it('takes a missing type for the one there is, refuses any other', () => {
    assert.equal(codec.apply(request({ typeUrl: '' }), new Subscription()).fault, undefined);
    const typeUrl = 'type.googleapis.com/envoy.config.cluster.v3.Cluster';
    const subscription = new Subscription();
    const { fault } = codec.apply(request({ typeUrl, resourceNames: ['default'] }), subscription);
    assert.equal(fault?.code, 'ERR_BAD_REQUEST');
    assert.match(fault.message, /Cluster.*Secret/);
    assert.deepEqual(names(subscription), []);
  });

  it('writes what a proxy reads', () => {
    const response = decodeResponse(
      codec.encode('n7', [secret('ROOTCA', 'v1'), secret('spiffe://example.org', 'v2')]),
    );
    assert.equal(response.nonce, 'n7');
    assert.equal(response.typeUrl, SECRET_TYPE);
    assert.equal(response.controlPlane, 'credence/1.2.3 node=a');
    assert.deepEqual(
      response.secrets.map(({ kind, name }) => [kind, name]),
      [
        ['plain bundle', 'ROOTCA'],
        ['plain bundle', 'spiffe://example.org'],
      ],
    );
  });
});

describe('versionOf()', () => {
  it('is the version of the only secret', () => {
    assert.equal(versionOf([secret('a', 'v1')]), 'v1');
  });

  it('depends on every name and version of several', () => {
    const all = [
      [secret('a', 'v1'), secret('b', 'v2')],
      [secret('a', 'v1'), secret('b', 'v1')],
      [secret('a', 'v1'), secret('c', 'v2')],
      [secret('b', 'v2'), secret('a', 'v1')],
      [],
    ].map(versionOf);
    assert.equal(new Set(all).size, all.length);
    assert.equal(versionOf([secret('a', 'v1'), secret('b', 'v2')]), all[0]);
  });
});
