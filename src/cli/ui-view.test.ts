import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from '../core/errors.ts';
import { statusPage } from './ui-view.ts';

const noName = () => undefined;
const withProxy = (proxy: unknown) =>
  statusPage({ proxies: [proxy], authorities: [] }, (uid) => (uid === 33 ? 'www-data' : undefined));

describe('statusPage()', () => {
  it('takes over named fields and no others', () => {
    const document = {
      authorities: [{ slot: 'active', key: 'secret', not_after: '2026-01-01T00:00:00Z' }],
      proxies: [{ pid: 1, key: 'secret', streams: [{ secrets: [{ name: 'a', key: 'secret' }] }] }],
      key: 'secret',
    };
    const page = statusPage(document, noName);
    assert.ok(!JSON.stringify(page).includes('"secret"'));
    assert.equal(page.authorities[0]?.notAfterMs, Date.UTC(2026, 0, 1));
    assert.equal(page.proxies[0]?.streams[0]?.secrets[0]?.name, 'a');
  });

  it('names the user', () => {
    assert.equal(withProxy({ uid: 33 }).proxies[0]?.user, 'www-data');
    assert.equal(withProxy({ uid: 34 }).proxies[0]?.user, null);
    assert.equal(withProxy({}).proxies[0]?.user, null);
  });

  it('writes out what hides or turns text, and cuts what is long', () => {
    const [proxy] = withProxy({
      node_id: 'a\u202eb\u0000',
      envoy_version: 'x'.repeat(10_000),
    }).proxies;
    assert.equal(proxy?.nodeId, 'a\\u202eb\\u0000');
    assert.equal(proxy.envoyVersion?.length, 513);
  });

  it('refuses what is no status', () => {
    for (const document of [null, [], 'x', {}, { proxies: [] }, { proxies: {}, authorities: [] }]) {
      assert.throws(
        () => statusPage(document, noName),
        (thrown) => thrown instanceof IdentityError && thrown.code === 'ERR_UNREACHABLE',
      );
    }
  });

  it('takes whatever stands in the fields', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
        const fields = { streams: [{ waiting: one, secrets: [{ refused: other }, one] }, other] };
        const page = statusPage(
          { proxies: [one, fields], authorities: [other], policy: one, rotation: other, now: one },
          noName,
        );
        assert.equal(page.proxies.length, 2);
      }),
    );
  });
});
