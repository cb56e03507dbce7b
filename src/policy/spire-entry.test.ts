import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { readPolicy } from './load.ts';

const BASE = {
  spiffe_id: 'spiffe://example.org/web',
  parent_id: 'spiffe://example.org/spire/agent/join_token/one',
  selectors: [
    { type: 'unix', value: 'uid:1000' },
    { type: 'k8s', value: 'pod-label:app:web' },
  ],
};
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'credence-spire-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function read(entry: object) {
  const file = join(folder, 's.json');
  writeFileSync(file, JSON.stringify({ entries: [entry] }, null, 2));
  return readPolicy({ paths: [file], trustDomain: parseTrustDomain('example.org') });
}

describe("SPIRE's entries", () => {
  it('are read with every field a server writes', () => {
    const { entries, faults, warnings } = read({
      ...BASE,
      x509_svid_ttl: 3600,
      jwt_svid_ttl: 300,
      dns_names: ['web.internal'],
      federates_with: ['spiffe://partner.example', 'other.example', 'spiffe://other.example'],
      hint: 'internal',
      admin: false,
      downstream: false,
      store_svid: false,
      entryExpiry: 0,
      entry_id: '5dcb1b1c-0000',
      revision_number: 4,
      created_at: '1700000000',
    });
    assert.deepEqual(faults, []);
    assert.deepEqual(entries, [
      {
        spiffeId: 'spiffe://example.org/web',
        selectors: ['unix:uid:1000', 'k8s:pod-label:app:web'],
        x509SvidTtlMs: 3_600_000,
        jwtSvidTtlMs: 300_000,
        dnsNames: ['web.internal'],
        federatesWith: ['partner.example', 'other.example'],
        hint: 'internal',
        priority: 0,
        source: `${folder}/s.json:3`,
      },
    ]);
    assert.deepEqual(warnings, [
      {
        file: join(folder, 's.json'),
        line: 3,
        message:
          'parent_id is not honoured (1 entries): they apply on every node that loads this file',
      },
    ]);
  });

  it('may use the lifetime of old releases, and 0 for the default', () => {
    assert.equal(read({ ...BASE, ttl: 200 }).entries[0]?.x509SvidTtlMs, 200_000);
    assert.equal(read({ ...BASE, x509_svid_ttl: 0 }).entries[0]?.x509SvidTtlMs, undefined);
  });

  const REFUSALS: readonly (readonly [extra: object, fault: RegExp])[] = [
    [{ admin: true }, /\.admin: expected false: there is no server API/],
    [{ downstream: true }, /\.downstream: expected false: there is no downstream server/],
    [{ store_svid: true }, /\.store_svid: expected false: there is no SVID store/],
    [{ admin: 'no' }, /\.admin: expected true or false, got a text/],
    [{ entryExpiry: 1_900_000_000 }, /\.entryExpiry: expected 0: entries of a file do not expire/],
    [{ expires_at: '1900000000' }, /\.expires_at: expected 0/],
    [{ entry_expiry: -1 }, /\.entry_expiry: expected 0/],
    [
      { parent_id: 'spiffe://other.org/node' },
      /\.parent_id: expected the ID of a node of example\.org, but its trust domain is not/,
    ],
    [
      { parent_id: 5 },
      /\.parent_id: expected the ID of a node of example\.org, but it does not start/,
    ],
    [
      { x509_svid_ttl: '1h' },
      /\.x509_svid_ttl: expected whole seconds, as SPIRE has it, got a text/,
    ],
    [{ jwt_svid_ttl: -5 }, /\.jwt_svid_ttl: expected a duration from 5s to 30d, got -5s/],
    [
      { ttl: 5, x509_svid_ttl: 5 },
      /:16:7: entries\[0\]\.ttl: expected either ttl or x509_svid_ttl/,
    ],
    [
      { spiffe_id: 'spiffe://example.org/{k8s:ns}' },
      /\.spiffe_id: expected an ID without placeholders/,
    ],
    [{ selectors: [] }, /\.selectors: expected a list of at least one selector/],
    [{ selectors: ['unix:uid:1'] }, /\.selectors\[0\]: expected a selector such as \{"type"/],
    [{ selectors: [{ type: 'unix' }] }, /\.selectors\[0\]: expected a selector such as \{"type"/],
    [{ selectors: [{ type: 'a:b', value: 'c' }] }, /\.selectors\[0\]: expected a selector, but/],
    [{ selectors: [{ type: 'a', value: 'c', more: 1 }] }, /\.selectors\[0\]\.more: unknown key/],
    [
      { federates_with: ['spiffe://example.org'] },
      /\.federates_with\[0\]: .* it is the own trust domain/,
    ],
    [{ revision_number: {} }, /\.revision_number: expected a text or a number, got a mapping/],
    [{ priority: 1 }, /\.priority: unknown key/],
  ];
  for (const [extra, fault] of REFUSALS) {
    it(`are refused with ${JSON.stringify(extra)}`, () => {
      const { faults, entries } = read({ ...BASE, ...extra });
      assert.match(faults[0] ?? '', fault);
      assert.deepEqual(entries, []);
    });
  }
});
