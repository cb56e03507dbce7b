import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { entry, HEAD, policyFolder, TD } from '../../test/support/policy-folder.ts';
import { loadPolicy } from './load.ts';

const folder = policyFolder();

describe('warnings', () => {
  const digest = `unix:sha256:${'0'.repeat(64)}`;
  for (const [selectors, found] of [
    [['unix:path:/usr/bin/envoy'], /^p\.yaml:2: unix:path without a user: .* add unix:uid$/],
    [[digest], /^p\.yaml:2: unix:sha256 without a user: .* add unix:uid$/],
    [['unix:path:/usr/bin/envoy', digest], /^p\.yaml:2: unix:sha256 without a user: /],
    [['unix:path:/usr/bin/envoy', 'unix:uid:1'], /^$/],
    [[digest, 'k8s:ns:prod'], /^$/],
  ] as const) {
    it(`${found.source === '^$' ? 'do not tell' : 'tell'} of an entry for ${selectors.map((one) => one.slice(0, 16)).join(' and ')}`, () => {
      const text = `entries:\n${entry('spiffe://example.org/web', ...selectors)}`;
      assert.match(warnings(text).join('\n'), found);
    });
  }

  const warnings = (text: string, name?: string) =>
    folder
      .load(text, name)
      .warnings.map(
        ({ file, line, message }) => `${file.slice(folder.path.length + 1)}:${line}: ${message}`,
      );

  it('tells of a certificate that would outlive the CA', () => {
    assert.deepEqual(warnings(`${HEAD}    x509_svid_ttl: 2d\n`), [
      'p.yaml:2: x509_svid_ttl is longer than issuer.ca_ttl: certificates will end earlier',
    ]);
  });

  it('tells of two placeholders in one segment', () => {
    const text = `entries:\n${entry('spiffe://example.org/{k8s:ns}-{k8s:sa}', 'a:b')}`;
    assert.deepEqual(warnings(text), [
      'p.yaml:2: spiffe://example.org/{k8s:ns}-{k8s:sa}: two placeholders in one segment can give different callers the same ID',
    ]);
    assert.deepEqual(warnings(text.replace('}-{', '}/{')), []);
  });

  it('tells of a file that everybody may write', () => {
    writeFileSync(join(folder.path, 'p.yaml'), HEAD);
    chmodSync(join(folder.path, 'p.yaml'), 0o666);
    assert.match(
      warnings(HEAD).join(),
      /^p\.yaml:1: every user of this machine may write the file/,
    );
  });

  it('tells of a folder without documents', () => {
    const { entries, warnings: found } = loadPolicy({ paths: [folder.path], trustDomain: TD });
    assert.deepEqual([entries.length, found.length], [0, 1]);
  });
});
