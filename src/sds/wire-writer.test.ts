import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fieldSize, WireWriter } from './wire-writer.ts';
import { WireReader } from './wire.ts';

describe('WireWriter', () => {
  it('writes fields that read back, at every width of a length', () => {
    for (const length of [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152]) {
      const content = Buffer.alloc(length, 0x61);
      const size = fieldSize(length);
      const out = new WireWriter(Buffer.alloc(size)).bytes(3, content).done();
      const r = new WireReader(out);
      assert.equal(r.next() && r.field, 3);
      assert.equal(r.equals(content), true, `${length}`);
      assert.equal(r.next(), false);
    }
  });

  it('refuses to hand out a buffer that is not filled exactly', () => {
    const bug = { code: 'ERR_BUG' };
    assert.throws(() => new WireWriter(Buffer.alloc(4)).text(1, 'a', 1).done(), bug);
    assert.throws(() => new WireWriter(Buffer.alloc(2)).text(1, 'a', 1).done(), bug);
    assert.equal(new WireWriter(Buffer.alloc(3)).text(1, 'a', 1).done().toString('hex'), '0a0161');
  });
});
