import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { entry, HEAD, policyFolder, TD } from '../../test/support/policy-folder.ts';
import { loadPolicy, readPolicy } from './load.ts';

const folder = policyFolder();

describe('loadPolicy() of folders', () => {
  it('reads the documents in the order of their names and nothing else', () => {
    for (const [n, name] of [
      'B.yml',
      'a.json',
      'a.yaml',
      'b.yaml',
      '.hidden.yaml',
      'notes.txt',
    ].entries()) {
      const text = name.endsWith('.json')
        ? `{"entries": [{"spiffe_id": "spiffe://example.org/${n}", "selectors": ["a:b"]}]}`
        : `entries:\n${entry(`spiffe://example.org/${n}`, 'a:b')}`;
      writeFileSync(join(folder.path, name), text);
    }
    mkdirSync(join(folder.path, 'c.yaml'));
    const { entries } = loadPolicy({ paths: [folder.path], trustDomain: TD });
    assert.deepEqual(
      entries.map(({ source }) => source.slice(folder.path.length + 1)),
      ['B.yml:2', 'a.json:1', 'a.yaml:2', 'b.yaml:2'],
    );
  });

  it('follows the links of a mounted ConfigMap once', () => {
    mkdirSync(join(folder.path, '..2030'));
    writeFileSync(join(folder.path, '..2030', 'p.yaml'), HEAD);
    symlinkSync('..2030', join(folder.path, '..data'));
    symlinkSync('..data/p.yaml', join(folder.path, 'p.yaml'));
    assert.equal(loadPolicy({ paths: [folder.path], trustDomain: TD }).entries.length, 1);
  });

  it('refuses a path that does not exist, and goes on to the others', () => {
    const paths = [join(folder.path, 'absent'), folder.path];
    writeFileSync(join(folder.path, 'p.yaml'), 'entries: 1');
    const { faults, faultCount } = readPolicy({ paths, trustDomain: TD });
    assert.equal(faultCount, 2);
    assert.match(
      faults[0] ?? '',
      /^cannot read the policy .*absent: there is no such file or folder$/,
    );
    assert.match(faults[1] ?? '', /p\.yaml:1:10: entries: expected a list/);
  });

  it('refuses a device instead of waiting for it', () => {
    symlinkSync('/dev/zero', join(folder.path, 'p.yaml'));
    assert.throws(
      () => loadPolicy({ paths: [folder.path], trustDomain: TD }),
      /p\.yaml: it is not a regular file$/,
    );
  });

  it('refuses a file that is too large before it reads it', () => {
    writeFileSync(join(folder.path, 'p.yaml'), '');
    // A hole of 65 MiB: no disk is used.
    truncateSync(join(folder.path, 'p.yaml'), 65 * 1024 * 1024);
    assert.throws(
      () => loadPolicy({ paths: [folder.path], trustDomain: TD }),
      /p\.yaml: it has 68157440 bytes, at most 67108864 are allowed$/,
    );
  });

  it('keeps the first fifty faults and counts all', () => {
    const { faults, faultCount } = readPolicy({
      paths: Array.from({ length: 60 }, (_, n) => join(folder.path, `absent-${n}`)),
      trustDomain: TD,
    });
    assert.deepEqual([faults.length, faultCount], [50, 60]);
  });
});
