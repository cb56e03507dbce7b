import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { foreignText } from './foreign-text.ts';

describe('foreignText()', () => {
  it('leaves a sentence as it is', () => {
    assert.equal(foreignText('the node is not known: größer'), 'the node is not known: größer');
  });

  it('makes one line of several', () => {
    assert.equal(foreignText('one\r\n\u2028two\u001b[31m'), 'one two [31m');
  });

  it('cuts what is too long and says so', () => {
    assert.equal(foreignText('abcdef', 3), 'abc …');
    assert.equal(foreignText('abc', 3), 'abc');
    assert.equal(foreignText('😀😀😀😀', 3), '😀😀😀 …');
  });

  it('holds nothing that steers a terminal, whatever it is given', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 2000 }), fc.nat(400), (text, most) => {
        const shown = foreignText(text, most);
        assert.doesNotMatch(shown, /[\p{C}\p{Zl}\p{Zp}]/u);
        assert.ok(Array.from(shown).length <= most + 2);
      }),
    );
  });
});
