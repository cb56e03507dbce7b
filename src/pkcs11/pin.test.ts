import assert from 'node:assert/strict';
import { chmodSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../../test/support/issuer.ts';
import { readPin } from './pin.ts';

const refused = (message: RegExp) => ({ code: 'ERR_KEY_STORE', message });

describe('the file with the PIN', () => {
  it('holds the PIN, with or without a line break', (t) => {
    const file = join(temporaryFolder(t), 'pin');
    for (const [text, pin] of [
      ['1234', '1234'],
      ['1234\n', '1234'],
      ['12 34\r\n', '12 34'],
    ] as const) {
      writeFileSync(file, text, { mode: 0o600 });
      assert.equal(readPin(file), pin);
    }
  });

  it('may be a link, as in a mounted Secret', (t) => {
    const dir = temporaryFolder(t);
    writeFileSync(join(dir, 'pin'), '1234', { mode: 0o400 });
    symlinkSync('pin', join(dir, 'link'));
    assert.equal(readPin(join(dir, 'link')), '1234');
  });

  it('is refused when others may read it, and when there is none', (t) => {
    const dir = temporaryFolder(t);
    const file = join(dir, 'pin');
    assert.throws(() => readPin(file), refused(/there is no file/));
    writeFileSync(file, '1234\n', { mode: 0o600 });
    chmodSync(file, 0o640);
    assert.throws(() => readPin(file), refused(/mode 0640/));
    chmodSync(file, 0o600);
    writeFileSync(file, '\n');
    assert.throws(() => readPin(file), refused(/is empty/));
    writeFileSync(file, 'x'.repeat(300));
    assert.throws(() => readPin(file), refused(/300 bytes/));
    assert.throws(() => readPin(dir), refused(/regular file|illegal/));
  });
});
