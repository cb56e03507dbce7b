import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { lookAsIf } from '../../test/support/other-owner.ts';
import type { Look } from './look.ts';
import { writeSecrets } from './write-secrets.ts';

const NOBODY = 65_534;
const SECRETS = {
  certificates: [{ name: 'default', chainPem: 'chain', keyPem: 'key' }],
  bundles: [{ name: 'ROOTCA', trustDomain: 'example.org', rootsPem: 'roots' }],
};
const FILES = ['bundle.0.pem', 'svid.0.key', 'svid.0.pem'];

describe('writeSecrets()', () => {
  let base: string;
  let folder: string;
  beforeEach(() => {
    base = realpathSync(mkdtempSync(join(tmpdir(), 'credence-write-')));
    folder = join(base, 'svids');
  });
  afterEach(() => rmSync(base, { recursive: true }));

  /** Writes, and returns what was said beside the names of the files. */
  function write(see?: Look): string {
    let said = '';
    writeSecrets(folder, SECRETS, true, { err: (text) => void (said += text) }, see);
    return said.replaceAll(/^wrote .*\n/gm, '');
  }

  it('makes a folder that nobody else may write, and says nothing of it', () => {
    const before = process.umask(0);
    try {
      assert.equal(write(), '');
      assert.equal(statSync(folder).mode & 0o777, 0o755);
      assert.equal(statSync(join(folder, 'svid.0.key')).mode & 0o7777, 0o600);
    } finally {
      process.umask(before);
    }
    assert.deepEqual(readdirSync(folder).sort(), FILES);
  });

  it('warns of a folder that everybody may write, unless it is sticky', () => {
    mkdirSync(folder);
    chmodSync(folder, 0o777);
    assert.equal(
      write(),
      `warning: ${folder} may be written by everybody: others can exchange what is written there\n` +
        'hint: name a folder of your own\n',
    );
    assert.deepEqual(readdirSync(folder).sort(), FILES);
    chmodSync(folder, 0o1777);
    assert.equal(write(), '');
  });

  it('warns of a folder of another user', () => {
    mkdirSync(folder);
    assert.match(
      write(lookAsIf(folder, NOBODY)),
      new RegExp(`^warning: .*/svids belongs to uid ${NOBODY}: others can`),
    );
    assert.deepEqual(readdirSync(folder).sort(), FILES);
  });

  it("refuses another user's link, and follows one of our own", () => {
    const real = join(base, 'real');
    mkdirSync(real);
    symlinkSync('real', folder);
    assert.equal(write(), '');
    assert.deepEqual(readdirSync(real).sort(), FILES);
    assert.throws(() => write(lookAsIf(folder, NOBODY)), {
      code: 'ERR_DENIED',
      message: `--write ${folder}: ${folder} is a link of uid ${NOBODY}, who could turn it elsewhere`,
    });
  });

  it('does not write through a link in the place of a file', () => {
    const victim = join(base, 'victim');
    writeFileSync(victim, 'untouched');
    mkdirSync(folder);
    symlinkSync(victim, join(folder, 'svid.0.key'));
    write();
    assert.equal(statSync(victim).size, 'untouched'.length);
    assert.equal(statSync(join(folder, 'svid.0.key')).size, 'key'.length);
  });

  it('makes only the last folder of a path', () => {
    const parent = join(base, 'missing');
    folder = join(parent, 'svids');
    assert.throws(() => write(), {
      code: 'ERR_USAGE',
      message: `--write ${folder}: there is no folder ${parent}`,
    });
    assert.deepEqual(readdirSync(base), []);
  });

  it('says of a file that it must be a folder', () => {
    writeFileSync(folder, 'precious');
    const hint = 'svid.N.pem, svid.N.key and bundle.N.pem are written into it';
    const message = `--write ${folder}: it is a file, it must be a folder`;
    assert.throws(() => write(), { code: 'ERR_USAGE', message, hint });
    folder = join(folder, 'deeper');
    assert.throws(() => write(), {
      code: 'ERR_USAGE',
      message: `--write ${folder}: a part of its path is a file, it must be a folder`,
    });
  });
});
