import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { tryLock } from './file-lock.ts';

describe('tryLock()', () => {
  it('gives the lock to one holder at a time, and to the next when that closes the file', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'credence-lock-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'lock');
    const first = openSync(path, 'w');
    const second = openSync(path, 'w');
    assert.equal(tryLock(first), true);
    assert.equal(tryLock(first), true, 'its holder has it already');
    assert.equal(tryLock(second), false);
    closeSync(first);
    assert.equal(tryLock(second), true);
    closeSync(second);
  });

  it('throws when the file cannot be locked at all', () => {
    assert.throws(() => tryLock(-1), { code: 'ERR_DISK', message: /errno 9/ });
  });
});
