import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { readPolicy } from './load.ts';

const DOC = readFileSync(new URL('../../docs/policy.md', import.meta.url), 'utf8');

function blocks(language: string): readonly string[] {
  const fences = DOC.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'));
  return [...fences].map((match) => match[1] ?? '');
}

function read(files: Readonly<Record<string, string>>) {
  const folder = mkdtempSync(join(tmpdir(), 'credence-doc-'));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    return {
      folder,
      ...readPolicy({ paths: [folder], trustDomain: parseTrustDomain('example.org') }),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('docs/policy.md', () => {
  it('shows documents that load together', () => {
    const [yaml = '', json = ''] = [blocks('yaml')[0], blocks('json')[0]];
    const { entries, faults, warnings } = read({ 'policy.yaml': yaml, 'spire.json': json });
    assert.deepEqual(faults, []);
    assert.equal(entries.length, 3);
    assert.match(warnings.map(({ message }) => message).join(), /^parent_id is not honoured/);
  });

  it('shows the error that the document gives', () => {
    const yaml = (blocks('yaml')[0] ?? '').replace(/^ {4}selectors/m, '    selector');
    const { faults, folder } = read({ 'policy.yaml': yaml });
    assert.equal(`${faults[0]?.replace(`${folder}/`, '')}\n`, blocks('text')[0]);
  });
});
