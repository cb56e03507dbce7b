import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { harmless, oneLine } from './printable.ts';

/** Texts of every kind of code unit, those that steer a terminal more often than by chance. */
const texts = fc.array(
  fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('\x1b[2J', '\x1b]0;title\x07', '\x9b31m', '\x9d', '\x85', '\x7f', '\r', '\n'),
    fc.constantFrom(
      '\u202e',
      '\u2066',
      '\u200b',
      '\u2028',
      '\u2029',
      '\ufeff',
      '\ud800',
      '\u{e0041}',
    ),
  ),
);

describe('harmless() and oneLine()', () => {
  it('leave nothing that steers a terminal in any text, and no line break in a line', () => {
    fc.assert(
      fc.property(texts, (parts) => {
        const text = parts.join('');
        assert.doesNotMatch(harmless(text), /(?!\n)[\p{C}\p{Zl}\p{Zp}]/u);
        assert.doesNotMatch(oneLine(text), /[\p{C}\p{Zl}\p{Zp}]/u);
        assert.equal(harmless(text).split('\n').length, text.split('\n').length);
      }),
    );
  });

  it('leave alone what people write', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        fc.pre(!/[\p{C}\p{Zl}\p{Zp}]/u.test(text));
        assert.equal(harmless(text), text);
        assert.equal(oneLine(text), text);
      }),
    );
    assert.equal(harmless('grüße, 世界\n'), 'grüße, 世界\n');
  });

  it('leave a JSON document what it says', () => {
    fc.assert(
      fc.property(
        fc.dictionary(
          texts.map((p) => p.join('')),
          texts.map((p) => p.join('')),
        ),
        (value) => {
          for (const text of [JSON.stringify(value), JSON.stringify(value, undefined, 2)]) {
            assert.deepEqual(JSON.parse(harmless(text)), JSON.parse(text));
          }
        },
      ),
    );
  });

  it('show what was there', () => {
    assert.equal(harmless('a\x1b[2Jb\n'), 'a\\u001b[2Jb\n');
    assert.equal(oneLine('a\nhint: b'), 'a\\u000ahint: b');
    assert.equal(oneLine('\u{e0041}'), '\\udb40\\udc41');
  });
});
