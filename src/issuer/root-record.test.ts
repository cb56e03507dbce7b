import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { issuerConfig, issuerDeps } from '../../test/support/issuer.ts';
import { openIssuer } from './issuer.ts';
import { formatRootRecord, parseRootRecord, type RootRecord } from './root-record.ts';

async function someRoot(): Promise<Buffer> {
  const issuer = await openIssuer(issuerConfig(), issuerDeps());
  issuer.close();
  return Buffer.from(issuer.bundle().x509Authorities[0]?.der ?? []);
}

describe('parseRootRecord()', () => {
  it('reads what was written', async () => {
    const der = await someRoot();
    const record: RootRecord = {
      trustDomain: 'example.org',
      bundleSequence: 7,
      longestTtlMs: 3_600_000,
      roots: [
        { der, untilMs: 1_900_000_000_000 },
        { der, untilMs: undefined },
      ],
    };
    assert.deepEqual(parseRootRecord(formatRootRecord(record)), record);
  });

  it('refuses what it would not have written', () => {
    const with_ = (more: object) =>
      JSON.stringify({
        ...{ version: 1, trust_domain: 'a', bundle_sequence: 1, longest_ttl_ms: 1, roots: [] },
        ...more,
      });
    assert.ok(parseRootRecord(with_({})));
    for (const [more, why] of [
      [{ version: 2 }, /version 1/],
      [{ trust_domain: 3 }, /trust_domain/],
      [{ bundle_sequence: -1 }, /bundle_sequence/],
      [{ longest_ttl_ms: 1.5 }, /longest_ttl_ms/],
      [{ roots: {} }, /list of at most 256 roots/],
      [{ roots: [null] }, /expected an object/],
      [{ roots: [{ certificate: 'a b' }] }, /certificate in base64/],
      [{ roots: [{ certificate: 'AAAA', until_ms: null }] }, /./],
    ] as const) {
      assert.throws(() => parseRootRecord(with_(more)), why, JSON.stringify(more));
    }
  });

  it('throws an error and nothing else for any text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          parseRootRecord(text);
        } catch (thrown) {
          assert.ok(thrown instanceof Error);
        }
      }),
    );
  });
});
