import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { entry, HEAD, policyFolder, TD } from '../../test/support/policy-folder.ts';
import { IdentityError } from '../core/errors.ts';
import { loadPolicy, readPolicy } from './load.ts';

const folder = policyFolder();

describe('loadPolicy()', () => {
  it('reads every field', () => {
    const { entries, warnings } = folder.load(
      `${HEAD}    x509_svid_ttl: 30m\n    jwt_svid_ttl: 5m\n    dns_names: [web.internal, "*.example.com"]\n` +
        '    federates_with: [partner.example]\n    hint: internal\n    priority: -10\n' +
        '  - spiffe_id: spiffe://example.org/ns/{k8s:ns}/sa/{k8s:sa}\n' +
        '    selectors:\n      - k8s:container-name:istio-proxy\n      - k8s:container-name:istio-proxy\n',
    );
    assert.deepEqual(warnings, []);
    assert.deepEqual(entries, [
      {
        spiffeId: 'spiffe://example.org/web',
        selectors: ['unix:uid:1'],
        x509SvidTtlMs: 1_800_000,
        jwtSvidTtlMs: 300_000,
        dnsNames: ['web.internal', '*.example.com'],
        federatesWith: ['partner.example'],
        hint: 'internal',
        priority: -10,
        source: `${folder.path}/p.yaml:2`,
      },
      {
        spiffeId: 'spiffe://example.org/ns/{k8s:ns}/sa/{k8s:sa}',
        selectors: ['k8s:container-name:istio-proxy'],
        x509SvidTtlMs: undefined,
        jwtSvidTtlMs: undefined,
        dnsNames: [],
        federatesWith: [],
        hint: '',
        priority: 0,
        source: `${folder.path}/p.yaml:10`,
      },
    ]);
  });

  it('reads the same from every way to write a document', () => {
    const id = 'spiffe://example.org/a';
    const same = [
      `entries:\n  - spiffe_id: ${id}\n    selectors: [unix:uid:1]\n`,
      `entries:\n- selectors:\n  - unix:uid:1\n  spiffe_id: "${id}"`,
      `entries:\n  - {spiffe_id: '${id}', selectors: ["unix:uid:1"]}\n`,
      `entries: [{spiffe_id: ${id}, selectors: [unix:uid:1]}]`,
      `{"entries": [{"spiffe_id": "${id}", "selectors": ["unix:uid:1"]}]}`,
      `%YAML 1.2\n---\nentries:\n  - spiffe_id: >-\n      ${id}\n    selectors:\n      - |-\n        unix:uid:1\n...\n`,
      `# none\n---\nentries: []\n---\nentries:\n  - spiffe_id: ${id}\n    selectors: [unix:uid:1]\n`,
      `entries:\r\n  - spiffe_id: ${id}\r\n    selectors: [unix:uid:1]\r\n`,
      `\u{feff}entries:\n  - spiffe_id: ${id}\n    selectors: [unix:uid:1]\n`,
    ].map((text) =>
      folder.load(text).entries.map(({ source, ...rest }) => ({ ...rest, own: source !== '' })),
    );
    for (const entries of same) assert.deepEqual(entries, same[0]);
    assert.equal(same[0]?.length, 1);
  });

  it('reads an alias of another entry, which no entry alone can be', () => {
    const text = `entries:\n  - spiffe_id: spiffe://example.org/a\n    selectors: &s [unix:uid:1]\n  - spiffe_id: spiffe://example.org/b\n    selectors: *s\n`;
    assert.deepEqual(
      folder
        .load(text)
        .entries.map(({ selectors, source }) => [selectors, source.replace(/.*:/, '')]),
      [
        [['unix:uid:1'], '2'],
        [['unix:uid:1'], '4'],
      ],
    );
  });

  it('reads a list that leaves the plain layout only further on, once', () => {
    const plain = entry('spiffe://example.org/a', 'a:b');
    assert.equal(
      folder.load(`entries:\n${plain}---\nentries:\n${plain.replace('/a', '/b')}`).entries.length,
      2,
    );
    assert.equal(
      folder.refusal(`entries:\n${plain}more: 1`),
      'p.yaml:4:1: more: unknown key, expected entries',
    );
    assert.equal(
      folder.load(
        `{"entries": [{"spiffe_id": "spiffe://example.org/a", "selectors": ["a:b"]}, # c\n]}`,
      ).entries.length,
      1,
    );
  });

  it('refuses the same entry in two files', () => {
    const text = `entries:\n${entry('spiffe://example.org/a', 'a:b')}`;
    writeFileSync(join(folder.path, 'a.yaml'), text);
    writeFileSync(join(folder.path, 'b.yaml'), text);
    const { faults } = readPolicy({ paths: [folder.path], trustDomain: TD });
    assert.deepEqual(
      faults.map((fault) => fault.replaceAll(`${folder.path}/`, '')),
      [
        'b.yaml:2:16: entries[0]: expected an entry of its own, but a.yaml:2 has the same SPIFFE ID and selectors',
      ],
    );
  });

  it('throws nothing but ERR_POLICY, whatever the bytes', () => {
    const piece = fc.constantFrom(
      ...[
        'entries:\n',
        '  - ',
        'spiffe_id: ',
        'spiffe://example.org/a',
        '\n    ',
        'selectors: ',
        '[unix:uid:1]',
      ],
      ...[
        '{',
        '}',
        '"',
        ',',
        ':',
        '[',
        ']',
        '&a ',
        '*a',
        '---\n',
        '{"entries":[',
        'null',
        '{k8s:ns}',
        '\0',
      ],
      ...[
        'parent_id: 1',
        'dns_names: [[]]',
        'federates_with: {}',
        'x509_svid_ttl: {}',
        '{"type":1,"value":[]}',
      ],
    );
    const texts = fc.array(piece, { maxLength: 14 }).map((list) => Buffer.from(list.join('')));
    const file = join(folder.path, 'p.yaml');
    fc.assert(
      fc.property(fc.oneof(texts, fc.uint8Array({ maxLength: 80 })), (bytes) => {
        writeFileSync(file, bytes);
        try {
          loadPolicy({ paths: [file], trustDomain: TD });
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError, String(thrown));
          assert.equal(thrown.code, 'ERR_POLICY');
          assert.match(thrown.message, /p\.yaml:/);
        }
      }),
      { numRuns: 1500 },
    );
  });
});
