import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { API, entitlement, OWN, PARTNER, WEB } from '../../test/support/identities.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { grantOf } from './grant.ts';

describe('grantOf()', () => {
  it('lists the own domain first, then the federated ones of all identities, sorted, once', () => {
    const other = parseTrustDomain('a.example');
    const { trustDomains, identities } = grantOf(OWN, [
      entitlement(WEB, { federatesWith: [PARTNER, OWN] }),
      entitlement(API, { federatesWith: [other, PARTNER] }),
    ]);
    assert.deepEqual(trustDomains, [OWN, other, PARTNER]);
    assert.deepEqual(
      identities.map(({ id }) => id),
      [WEB, API],
    );
  });

  it('grants the own bundle to a process without an identity', () => {
    assert.deepEqual(grantOf(OWN, []).trustDomains, [OWN]);
  });

  it('has the same key for the same content, wherever the entry stands', () => {
    const key = grantOf(OWN, [entitlement(WEB)]).key;
    assert.equal(grantOf(OWN, [entitlement(WEB, { source: 'b.yaml:9', priority: 3 })]).key, key);
  });

  it('has another key for anything that a caller could tell', () => {
    const variants = [
      [],
      [entitlement(WEB)],
      [entitlement(API)],
      [entitlement(WEB), entitlement(API)],
      [entitlement(API), entitlement(WEB)],
      [entitlement(WEB, { x509SvidTtlMs: 1000 })],
      [entitlement(WEB, { jwtSvidTtlMs: 1000 })],
      [entitlement(WEB, { dnsNames: ['web.internal'] })],
      [entitlement(WEB, { hint: 'internal' })],
      [entitlement(WEB, { federatesWith: [PARTNER] })],
    ];
    const keys = variants.map((identities) => grantOf(OWN, identities).key);
    assert.equal(new Set(keys).size, variants.length);
  });
});
