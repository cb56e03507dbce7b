import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { policyEntry } from '../../test/support/policy-entry.ts';
import type { PolicyEntry } from './entry.ts';
import { entryFindings } from './entry-findings.ts';

const entry = (source: string, path: string, ...selectors: string[]) =>
  policyEntry(path, selectors, { source });
const found = (...entries: PolicyEntry[]) =>
  [...entryFindings(entries, { discoverPath: false })].map(
    ({ file, line, message }) => `${file}:${line}: ${message}`,
  );

describe('entryFindings()', () => {
  it('says once of each document which attestor it waits for', () => {
    const waits = (type: string) =>
      `no attestor that is enabled makes ${type}: entries that ask for it apply to no process`;
    assert.deepEqual(
      found(
        entry('a:2', 'a', 'k8s:ns:a', 'k8s:sa:a'),
        entry('a:4', 'b', 'k8s:ns:b', 'docker:label:a:b'),
        entry('a:6', '{k8s:ns}', 'unix:uid:1000'),
        entry('b:2', '{systemd:id}', 'unix:uid:1000'),
        entry('b:4', '{k8s:ns}', 'unix:uid:1001'),
      ),
      [
        `a:2: ${waits('k8s')}`,
        `a:4: ${waits('docker')}`,
        `b:2: ${waits('systemd')}`,
        `b:4: ${waits('k8s')}`,
      ],
    );
  });

  it('says of a placeholder that the selectors give it several values', () => {
    const gids = ['unix:uid:1000', 'unix:supplementary_gid:7', 'unix:supplementary_gid:8'];
    assert.deepEqual(found(entry('a:2', 'g/{unix:supplementary_gid}', ...gids)), [
      'a:2: {unix:supplementary_gid} has a single value for no process: the entry asks for unix:supplementary_gid:7 and unix:supplementary_gid:8',
    ]);
    assert.deepEqual(found(entry('a:2', 'g/{unix:supplementary_gid}', ...gids.slice(0, 2))), []);
  });

  it('says that an id is not that of the name beside it', () => {
    assert.deepEqual(found(entry('a:2', 'a', 'unix:uid:4242', 'unix:user:root')), [
      'a:2: no process has unix:uid:4242 and unix:user:root: root is 0',
    ]);
  });
});
