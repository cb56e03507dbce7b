import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { lookAsIf } from '../../test/support/other-owner.ts';
import { foreignLink } from './foreign-link.ts';

const NOBODY = 65_534;

describe('foreignLink()', () => {
  let folder: string;
  beforeEach(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'credence-links-')));
    mkdirSync(join(folder, 'real/inner'), { recursive: true });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('finds none where there is none, where all are our own, and where nothing is', () => {
    symlinkSync('real', join(folder, 'own'));
    symlinkSync(join(folder, 'own/inner'), join(folder, 'chain'));
    symlinkSync('nowhere', join(folder, 'dangling'));
    for (const name of ['real/inner', 'own/inner', 'chain', 'dangling/x', 'missing/deep']) {
      assert.equal(foreignLink(join(folder, name)), undefined, name);
    }
  });

  it('ends on links that lead in a circle', () => {
    symlinkSync('b', join(folder, 'a'));
    symlinkSync('a', join(folder, 'b'));
    assert.equal(foreignLink(join(folder, 'a')), undefined);
  });

  it('finds one of another user, itself, above, or behind one of our own', () => {
    const foreign = join(folder, 'foreign');
    symlinkSync('real', foreign);
    const see = lookAsIf(foreign, NOBODY);
    symlinkSync('foreign', join(folder, 'own'));
    for (const name of ['foreign', 'foreign/inner', 'foreign/missing', 'own', 'own/inner']) {
      assert.deepEqual(foreignLink(join(folder, name), see), { path: foreign, uid: NOBODY }, name);
    }
  });
});
