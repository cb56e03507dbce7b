import assert from 'node:assert/strict';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { policyFolder } from '../../test/support/policy-folder.ts';
import { areSmall, listDocuments } from './files.ts';

const folder = policyFolder();

describe('areSmall()', () => {
  const limit = { files: 2, bytes: 20 };
  for (const [what, sizes, small] of [
    ['no documents', [], true],
    ['as many and as long as may be', [10, 10], true],
    ['one byte more', [10, 11], false],
    ['one document more', [1, 1, 1], false],
  ] as const) {
    it(`says ${small ? 'yes' : 'no'} for ${what}`, () => {
      for (const [n, size] of sizes.entries()) {
        writeFileSync(join(folder.path, `${n}.yaml`), 'x'.repeat(size));
      }
      assert.equal(areSmall(listDocuments([folder.path]), limit), small);
    });
  }

  it('does not mind what is not there', () => {
    symlinkSync('nothere', join(folder.path, 'q.yaml'));
    symlinkSync('loop.yaml', join(folder.path, 'loop.yaml'));
    assert.equal(areSmall(listDocuments([folder.path, join(folder.path, 'gone')]), limit), true);
  });
});
