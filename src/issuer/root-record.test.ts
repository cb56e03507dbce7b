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
        { der, sinceMs: 1_800_000_000_000, untilMs: 1_900_000_000_000 },
        { der, sinceMs: 0, untilMs: undefined },
      ],
    };
    assert.deepEqual(parseRootRecord(formatRootRecord(record)), record);
  });

  it('takes roots without the time since when, as an earlier version wrote them', async () => {
    const der = await someRoot();
    const [root] = parseRootRecord(
      JSON.stringify({
        ...{ version: 1, trust_domain: 'a', bundle_sequence: 1, longest_ttl_ms: 1 },
        roots: [{ certificate: der.toString('base64'), until_ms: null }],
      }),
    ).roots;
    assert.deepEqual(root, { der, sinceMs: 0, untilMs: undefined });
  });

  it('refuses what it would not have written', async () => {
    const der = (await someRoot()).toString('base64');
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
      [{ roots: [{ certificate: der, since_ms: -1, until_ms: null }] }, /since_ms/],
      [{ roots: [{ certificate: der, since_ms: 1 }] }, /until_ms/],
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
