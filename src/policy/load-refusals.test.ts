import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { entry, HEAD, policyFolder } from '../../test/support/policy-folder.ts';

const folder = policyFolder();

describe('loadPolicy() of what is wrong', () => {
  const REFUSALS: readonly (readonly [why: string, text: string, message: string])[] = [
    [
      'an unknown key',
      `${HEAD}    selector: [a:b]`,
      'p.yaml:4:5: entries[0].selector: unknown key, did you mean selectors?',
    ],
    [
      'a key far from any',
      `${HEAD}    zzzzzz: 1`,
      'p.yaml:4:5: entries[0].zzzzzz: unknown key, expected one of spiffe_id, selectors, x509_svid_ttl, jwt_svid_ttl, dns_names, federates_with, hint, priority',
    ],
    [
      'an unknown key at the top',
      `entrys: []\nentries: []`,
      'p.yaml:1:1: entrys: unknown key, did you mean entries?',
    ],
    [
      'no entries',
      'version: 1',
      'p.yaml:1:1: version: unknown key, expected entries (and 1 more fault)',
    ],
    [
      'entries of nothing',
      'entries:',
      'p.yaml:1:9: entries: expected a list of entries ([] for none), got nothing',
    ],
    [
      'entries that are a mapping',
      'entries: {a: 1}',
      'p.yaml:1:10: entries: expected a list of entries ([] for none), got a mapping',
    ],
    ['a list at the top', '- a', 'p.yaml:1:1: expected a mapping with the key entries, got a list'],
    [
      'an empty file',
      '# entries\n',
      'p.yaml:1:1: expected the key entries, the file is empty (entries: [] for none)',
    ],
    [
      'an entry that is a text',
      'entries: [a]',
      'p.yaml:1:11: entries[0]: expected an entry with spiffe_id and selectors, got a text',
    ],
    [
      'an entry of nothing',
      'entries:\n  -\n',
      'p.yaml:2:4: entries[0]: expected an entry with spiffe_id and selectors, got nothing',
    ],
    [
      'more selectors than anybody means',
      `entries:\n  - spiffe_id: spiffe://example.org/a\n    selectors: [${'a:b, '.repeat(1024)}a:b]`,
      'p.yaml:3:16: entries[0].selectors: expected at most 1024 selectors, got 1025',
    ],
    ['a key twice', `${HEAD}    hint: a\n    hint: b`, 'p.yaml:5:5: the key "hint" is there twice'],
    ['a syntax error', 'entries:\n  - spiffe_id: "x\n', 'p.yaml:3:1: missing closing "quote'],
    ['a tag', `${HEAD}    hint: !secret x`, 'p.yaml:4:11: unresolved tag: !secret'],
    [
      'no SPIFFE ID',
      'entries:\n  - selectors: [a:b]',
      'p.yaml:2:5: entries[0].spiffe_id: expected an ID such as spiffe://example.org/web, got nothing',
    ],
    [
      'a number as SPIFFE ID',
      'entries:\n  - spiffe_id: 5\n    selectors: [a:b]',
      'p.yaml:2:16: entries[0].spiffe_id: expected an ID such as spiffe://example.org/web, got 5',
    ],
    [
      'an ID of another scheme',
      `entries:\n${entry('https://example.org/a', 'a:b')}`,
      'p.yaml:2:16: entries[0].spiffe_id: expected an ID such as spiffe://example.org/web, but it does not start with spiffe://',
    ],
    [
      'a foreign trust domain',
      `entries:\n${entry('spiffe://other.org/a', 'a:b')}`,
      "p.yaml:2:16: entries[0].spiffe_id: expected an ID such as spiffe://example.org/web, but its trust domain is other.org, this one's is example.org",
    ],
    [
      'a longer trust domain',
      `entries:\n${entry('spiffe://example.org.evil/a', 'a:b')}`,
      "p.yaml:2:16: entries[0].spiffe_id: expected an ID such as spiffe://example.org/web, but its trust domain is example.org.evil, this one's is example.org",
    ],
    [
      'capitals in the trust domain',
      `entries:\n${entry('spiffe://Example.org/a', 'a:b')}`,
      'p.yaml:2:16: entries[0].spiffe_id: expected an ID such as spiffe://example.org/web, but its trust domain is invalid: capitals are not allowed',
    ],
    [
      'a placeholder as trust domain',
      `entries:\n${entry('"spiffe://{k8s:ns}/a"', 'a:b')}`,
      'p.yaml:2:16: entries[0].spiffe_id: expected an ID such as spiffe://example.org/web, but its trust domain holds a placeholder',
    ],
    [
      'an ID without a path',
      `entries:\n${entry('spiffe://example.org', 'a:b')}`,
      'p.yaml:2:16: entries[0].spiffe_id: expected an ID such as spiffe://example.org/web, but it has no path',
    ],
    [
      'a slash at the end',
      `entries:\n${entry('spiffe://example.org/a/', 'a:b')}`,
      'p.yaml:2:16: entries[0].spiffe_id: expected an ID such as spiffe://example.org/web, but its path has an empty segment',
    ],
    [
      'dots in the path',
      `entries:\n${entry('spiffe://example.org/../a', 'a:b')}`,
      'p.yaml:2:16: entries[0].spiffe_id: expected an ID such as spiffe://example.org/web, but its path has a segment of dots only',
    ],
    [
      'a placeholder without type',
      `entries:\n${entry('spiffe://example.org/{ns}', 'a:b')}`,
      'p.yaml:2:16: entries[0].spiffe_id: expected an ID such as spiffe://example.org/web, but its placeholder {ns} is not written {type:key}, as in {k8s:ns}',
    ],
    [
      'an open brace',
      `entries:\n${entry('spiffe://example.org/{k8s:ns', 'a:b')}`,
      'p.yaml:2:16: entries[0].spiffe_id: expected an ID such as spiffe://example.org/web, but its braces do not pair up',
    ],
    [
      'no selectors',
      'entries:\n  - spiffe_id: spiffe://example.org/a\n',
      'p.yaml:2:5: entries[0].selectors: expected a list of at least one selector, got nothing',
    ],
    [
      'an empty list of selectors',
      `entries:\n${entry('spiffe://example.org/a')}`,
      'p.yaml:3:16: entries[0].selectors: expected a list of at least one selector, got an empty one',
    ],
    [
      'one selector without a list',
      'entries:\n  - spiffe_id: spiffe://example.org/a\n    selectors: unix:uid:1',
      'p.yaml:3:16: entries[0].selectors: expected a list of at least one selector, got a text',
    ],
    [
      'a selector that YAML reads as a mapping',
      'entries:\n  - spiffe_id: spiffe://example.org/a\n    selectors: ["a:b", unix:uid: 1]',
      'p.yaml:3:24: entries[0].selectors[1]: expected a text such as "unix:uid:1000" (in quotes), got a mapping',
    ],
    [
      'a selector without type',
      `entries:\n${entry('spiffe://example.org/a', 'uid')}`,
      'p.yaml:3:17: entries[0].selectors[0]: expected a selector such as unix:uid:1000, but it has no type: write type:value, as in unix:uid:1000',
    ],
    [
      'a selector without value',
      `entries:\n${entry('spiffe://example.org/a', 'unix:')}`,
      'p.yaml:3:17: entries[0].selectors[0]: expected a selector such as unix:uid:1000, but its value is empty',
    ],
    [
      'a negative user',
      `entries:\n${entry('spiffe://example.org/a', 'unix:uid:-1')}`,
      'p.yaml:3:17: entries[0].selectors[0]: expected a selector such as unix:uid:1000, but unix:uid takes a number from 0 to 4294967294, got "-1"',
    ],
    [
      'a lifetime without unit',
      `${HEAD}    x509_svid_ttl: 30`,
      'p.yaml:4:20: entries[0].x509_svid_ttl: expected a duration such as 30s, 10m or 1h, got 30',
    ],
    [
      'a lifetime of another unit',
      `${HEAD}    jwt_svid_ttl: 1w`,
      'p.yaml:4:19: entries[0].jwt_svid_ttl: expected a duration such as 30s, 10m or 1h, got "1w"',
    ],
    [
      'a lifetime that is over before it is used',
      `${HEAD}    x509_svid_ttl: 4s`,
      'p.yaml:4:20: entries[0].x509_svid_ttl: expected a duration from 5s to 30d, got 4s',
    ],
    [
      'a lifetime that is not short',
      `${HEAD}    x509_svid_ttl: 31d`,
      'p.yaml:4:20: entries[0].x509_svid_ttl: expected a duration from 5s to 30d, got 31d',
    ],
    [
      'a DNS name without list',
      `${HEAD}    dns_names: a.b`,
      'p.yaml:4:16: entries[0].dns_names: expected a list, got a text',
    ],
    [
      'a number as DNS name',
      `${HEAD}    dns_names: [5]`,
      'p.yaml:4:17: entries[0].dns_names[0]: expected a DNS name such as web.internal, got 5',
    ],
    [
      'a DNS name with an underscore',
      `${HEAD}    dns_names: [a_b.c]`,
      'p.yaml:4:17: entries[0].dns_names[0]: expected a DNS name such as web.internal, but the label "a_b" is not letters, digits and inner hyphens',
    ],
    [
      'a DNS name twice',
      `${HEAD}    dns_names: [a.b, A.b]`,
      'p.yaml:4:22: entries[0].dns_names[1]: expected a DNS name such as web.internal, but it is there twice',
    ],
    [
      'an address as DNS name',
      `${HEAD}    dns_names: [10.0.0.1]`,
      'p.yaml:4:17: entries[0].dns_names[0]: expected a DNS name such as web.internal, but it is an address, not a name',
    ],
    [
      'the own trust domain as a federated one',
      `${HEAD}    federates_with: [example.org]`,
      'p.yaml:4:22: entries[0].federates_with[0]: expected a trust domain such as partner.example, but it is the own trust domain',
    ],
    [
      'a federated trust domain with scheme',
      `${HEAD}    federates_with: [spiffe://a.b]`,
      'p.yaml:4:22: entries[0].federates_with[0]: expected a trust domain such as partner.example, but write the name without spiffe://',
    ],
    [
      'a hint that is a number',
      `${HEAD}    hint: 5`,
      'p.yaml:4:11: entries[0].hint: expected a text, got 5',
    ],
    [
      'a long hint',
      `${HEAD}    hint: ${'h'.repeat(1025)}`,
      'p.yaml:4:11: entries[0].hint: it has 1025 characters, at most 1024 are allowed',
    ],
    [
      'a fractional priority',
      `${HEAD}    priority: 1.5`,
      'p.yaml:4:15: entries[0].priority: expected a whole number from -1000000 to 1000000, got 1.5',
    ],
    [
      'a priority as text',
      `${HEAD}    priority: high`,
      'p.yaml:4:15: entries[0].priority: expected a whole number from -1000000 to 1000000, got a text',
    ],
    [
      'a manifest of SPIRE that nobody knows',
      'apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterWebhook\nspec: {}',
      'p.yaml:1:1: expected a policy document with the key entries or one of ClusterSPIFFEID, ClusterStaticEntry, ClusterFederatedTrustDomain of spire.spiffe.io/v1alpha1, ClusterWebhook of spire.spiffe.io/v1alpha1 is none',
    ],
    [
      'another manifest',
      'apiVersion: v1\nkind: ConfigMap',
      'p.yaml:1:1: expected a policy document with the key entries or one of ClusterSPIFFEID, ClusterStaticEntry, ClusterFederatedTrustDomain of spire.spiffe.io/v1alpha1, ConfigMap of v1 is none',
    ],
    [
      'the same entry twice',
      `entries:\n${entry('spiffe://example.org/a', 'a:b', 'c:d')}${entry('spiffe://example.org/a', 'c:d', 'a:b')}`,
      'p.yaml:4:16: entries[1]: expected an entry of its own, but p.yaml:2 has the same SPIFFE ID and selectors',
    ],
    [
      'several faults',
      `entries:\n${entry('x', 'a:b')}${entry('y', 'a:b')}${entry('z')}`,
      'p.yaml:2:16: entries[0].spiffe_id: expected an ID such as spiffe://example.org/web, but it does not start with spiffe:// (and 3 more faults)',
    ],
  ];
  for (const [why, text, message] of REFUSALS) {
    it(`refuses ${why}`, () => assert.equal(folder.refusal(text), message));
  }

  it('names the place in a document after the first', () => {
    assert.equal(
      folder.refusal('entries: []\n---\nentries: []\nentriez: []'),
      'p.yaml:4:1: entriez: unknown key, did you mean entries?',
    );
  });

  it('names the layout when a large text is not in it, and the place when one entry is not YAML', () => {
    const filler = `# ${'x'.repeat(9 * 1024 * 1024)}\n`;
    assert.match(
      folder.refusal(`${filler}%\n${HEAD}`),
      /^p\.yaml: it has \d+ characters, at most 8388608 are allowed outside of the plain layout$/,
    );
    assert.equal(
      folder.refusal(`${filler}${HEAD}    hint: "x\n`),
      'p.yaml:6:1: missing closing "quote',
    );
  });
});

describe('an unknown key', () => {
  it('is quoted shortened and harmless, whoever wrote it', () => {
    const key = JSON.stringify(`\u001b[2J${'k'.repeat(900)}`);
    assert.equal(
      folder.refusal(`${HEAD}    ${key}: 1\n`).split(', expected')[0],
      `p.yaml:4:5: entries[0].\\u{1b}[2J${'k'.repeat(60)}…: unknown key`,
    );
  });

  it('makes one harmless line of bounded length in every place and layout', () => {
    const places = [
      (key: string) => `${key}: 1\n${HEAD}`,
      (key: string) => `${HEAD}    ${key}: 1\n`,
      (key: string) =>
        `{"entries":[{"spiffe_id":"spiffe://example.org/a","selectors":[{"type":"unix","value":"uid:1",${key}:1}]}]}`,
      (key: string) => `{"entries":[{${key}:1}]}`,
    ];
    const keys = fc.string({ unit: 'binary', minLength: 20, maxLength: 300 });
    fc.assert(
      fc.property(keys, fc.constantFrom(...places), (key, place) => {
        const message = folder.refusal(place(JSON.stringify(key)));
        assert.doesNotMatch(message, /[\p{C}\p{Zl}\p{Zp}]/u);
        assert.ok(message.length < 2000, String(message.length));
      }),
    );
  });
});
