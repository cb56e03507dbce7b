import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { lookAsIf } from '../../test/support/other-owner.ts';
import { findQuickstart } from './quickstart.ts';

const NOBODY = 65_534;
const CONFIG = 'envoy-configs/quickstart/credence.yaml';

describe('findQuickstart()', () => {
  let clone: string;
  beforeEach(() => {
    clone = realpathSync(mkdtempSync(join(tmpdir(), 'credence-clone-')));
    mkdirSync(join(clone, 'envoy-configs/quickstart'), { recursive: true });
    mkdirSync(join(clone, 'src/cli'), { recursive: true });
    writeFileSync(join(clone, CONFIG), '');
    manifest('{"name": "credence"}');
  });
  afterEach(() => rmSync(clone, { recursive: true }));

  const manifest = (text: string) => writeFileSync(join(clone, 'package.json'), text);

  it('finds the configuration from the top of a clone and from anywhere in it', () => {
    for (const folder of ['.', 'src/cli', 'envoy-configs/quickstart', 'not/there/yet']) {
      assert.equal(findQuickstart(join(clone, folder)), join(clone, CONFIG), folder);
    }
  });

  it('finds nothing outside of a clone, up to the root of the file system', () => {
    assert.equal(findQuickstart(dirname(clone)), undefined);
    assert.equal(findQuickstart('/'), undefined);
  });

  it('takes nothing else for a clone', () => {
    for (const text of ['{"name": "other"}', '{', 'null', '"credence"', ' '.repeat(70_000)]) {
      manifest(text);
      assert.equal(findQuickstart(clone), undefined, text.slice(0, 20));
    }
    rmSync(join(clone, 'package.json'));
    assert.equal(findQuickstart(clone), undefined);
    mkdirSync(join(clone, 'package.json'));
    assert.equal(findQuickstart(clone), undefined);
  });

  it('takes no offence at a folder that only looks like one', () => {
    rmSync(join(clone, 'envoy-configs'), { recursive: true });
    writeFileSync(join(clone, 'envoy-configs'), '');
    assert.equal(findQuickstart(clone), undefined);
  });

  for (const name of ['.', 'package.json', 'envoy-configs', 'envoy-configs/quickstart', CONFIG]) {
    it(`leaves alone a clone whose ${name} is another user's`, () => {
      const theirs = lookAsIf(join(clone, name), NOBODY);
      assert.equal(findQuickstart(join(clone, 'src'), theirs), undefined);
    });
  }

  it('takes the clone that the executable was built in, whoever has it', (t) => {
    mkdirSync(join(clone, 'dist'));
    writeFileSync(join(clone, 'dist/credence.js'), '');
    const [, before = ''] = process.argv;
    t.after(() => void (process.argv[1] = before));
    process.argv[1] = join(clone, 'dist/credence.js');
    const theirs = lookAsIf(clone, NOBODY);
    assert.equal(findQuickstart(join(clone, 'src'), theirs), join(clone, CONFIG));
  });
});
