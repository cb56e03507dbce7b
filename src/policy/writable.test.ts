import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { readPolicy } from './load.ts';
import { writableDoubt, writableDoubtAt } from './writable.ts';

const root = mkdtempSync(join(tmpdir(), 'credence-writable-'));
after(() => rmSync(root, { recursive: true, force: true }));

describe('writableDoubt()', () => {
  const doubt = (mode: number, uid: number, gid: number) =>
    writableDoubt('/etc/p.yaml', 'file', { mode, uid, gid });

  it('says nothing while the owner alone may write', () => {
    assert.equal(doubt(0o100644, 4001, 4002), undefined);
  });

  it('names everybody, and what to do', () => {
    assert.equal(
      doubt(0o100666, 0, 0),
      'every user of this machine may write the file, so grant any identity: chmod go-w /etc/p.yaml',
    );
  });

  it('names a group that is not the own of the owner', () => {
    assert.match(
      doubt(0o100664, 4001, 4002) ?? '',
      /^group 4002 may write the file, .*: chmod go-w/,
    );
    assert.match(doubt(0o100664, 0, 4002) ?? '', /^group 4002 /);
    for (const [uid, gid] of [
      [4001, 4001],
      [4001, 0],
      [process.geteuid?.() ?? 0, process.getegid?.() ?? 0],
    ] as const) {
      assert.equal(doubt(0o100664, uid, gid), undefined, `${uid}:${gid}`);
    }
  });

  it('says nothing of what is not there', () => {
    assert.equal(writableDoubtAt(join(root, 'absent'), 'file'), undefined);
  });
});

describe('readPolicy()', () => {
  it('tells of a folder that everybody may add documents to, sticky or not', () => {
    const folder = join(root, 'policy');
    mkdirSync(folder);
    writeFileSync(join(folder, 'p.yaml'), 'entries: []\n', { mode: 0o644 });
    for (const mode of [0o777, 0o1777]) {
      chmodSync(folder, mode);
      const { warnings } = readPolicy({
        paths: [folder],
        trustDomain: parseTrustDomain('example.org'),
      });
      const told = warnings.map(({ file, message }) => `${file}: ${message}`);
      assert.deepEqual(told, [
        `${folder}: every user of this machine may write the folder, so grant any identity: chmod go-w ${folder}`,
      ]);
    }
  });
});
