import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { ItemText } from './entry-list.ts';
import { readJsonItem, splitJsonList } from './json-list.ts';

/** All pieces of a text, or undefined when it is not such a document. */
function split(text: string): readonly ItemText[] | undefined {
  const pieces: ItemText[] = [];
  const generator = splitJsonList(text);
  let step = generator.next();
  for (; !step.done; step = generator.next()) pieces.push(step.value);
  return step.value ? pieces : undefined;
}

function read(text: string): readonly unknown[] | undefined {
  return split(text)?.map(({ from, to }) => readJsonItem(text.slice(from, to)));
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
      split(text)?.map(({ origin }) => origin),
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
      assert.equal(split(text), undefined);
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
