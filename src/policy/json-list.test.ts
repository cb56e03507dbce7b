import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readJsonItem, splitJsonList } from './json-list.ts';

function read(text: string): readonly unknown[] | undefined {
  return splitJsonList(text)?.map(({ from, to }) => readJsonItem(text.slice(from, to)));
}

describe('splitJsonList()', () => {
  it('gives what JSON.parse gives, item by item', () => {
    const item = fc.dictionary(fc.string(), fc.jsonValue());
    fc.assert(
      fc.property(fc.array(item), fc.constantFrom(0, 2, '\t'), (entries, indent) => {
        const text = JSON.stringify({ entries }, null, indent);
        assert.deepEqual(read(text), (JSON.parse(text) as { entries: unknown[] }).entries);
      }),
    );
  });

  it('tells each item its line and column', () => {
    const text = '{"entries": [\n  {"a": "}"},\n\n  {"b": 1}, {"c": 2}\n]}\n';
    assert.deepEqual(
      splitJsonList(text)?.map(({ origin }) => origin),
      [
        { line: 2, column: 3 },
        { line: 4, column: 3 },
        { line: 4, column: 13 },
      ],
    );
  });

  for (const text of [
    '',
    '[]',
    '{"entries": {}}',
    '{"entries": [{"a": 1},]}',
    '{"entries": [{"a": 1}], "more": 1}',
    '{"entries": [{"a": 1}]} x',
    '{"entries": [{"a": "]}',
    '{"entries": [5]}',
    '{"other": [{"a": 1}]}',
  ]) {
    it(`leaves ${text || 'an empty text'} to the full parser`, () => {
      assert.equal(splitJsonList(text), undefined);
    });
  }
});

describe('readJsonItem()', () => {
  it('does not take a key that is there twice, at any depth', () => {
    assert.equal(readJsonItem('{"a": 1, "a": 2}'), undefined);
    assert.equal(readJsonItem('{"b": [{"a": 1, "\\u0061": 2}]}'), undefined);
    assert.deepEqual(readJsonItem('{"b:": [{"a": ":\\":"}]}'), { 'b:': [{ a: ':":' }] });
  });

  it('does not take what is not JSON', () => {
    assert.equal(readJsonItem('{a: 1}'), undefined);
    assert.equal(readJsonItem('{"a": \'b\'}'), undefined);
  });
});
