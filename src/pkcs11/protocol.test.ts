import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { lineReader, parseReply } from './protocol.ts';

describe('lines of a process', () => {
  it('are the same however they come', () => {
    const texts = fc.array(fc.string().map((text) => text.replaceAll('\n', ' ')));
    fc.assert(
      fc.property(texts, fc.integer({ min: 1, max: 7 }), (lines, size) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        const read: string[] = [];
        const take = lineReader(10_000, (line) => read.push(line));
        for (let at = 0; at < bytes.length; at += size) {
          assert.ok(take(bytes.subarray(at, at + size)));
        }
        assert.deepEqual(read, lines);
      }),
    );
  });

  it('are refused when they are too long, ended or not', () => {
    const take = () => lineReader(10, () => undefined);
    assert.ok(take()(Buffer.alloc(10, 'x')));
    assert.ok(!take()(Buffer.alloc(11, 'x')));
    assert.ok(!take()(Buffer.from(`${'x'.repeat(11)}\n`)));
    const slow = take();
    assert.ok(slow(Buffer.alloc(6, 'x')));
    assert.ok(!slow(Buffer.alloc(6, 'x')));
  });
});

describe('a reply', () => {
  it('is read, or is none, whatever it is', () => {
    const anything = fc.oneof(
      fc.string(),
      fc.json(),
      fc.jsonValue().map((v) => JSON.stringify(v)),
    );
    fc.assert(fc.property(anything, (line) => void parseReply(line)));
    for (const line of [
      '',
      '{',
      '1',
      'null',
      '[]',
      '{}',
      '{"value":"x"}',
      '{"n":0,"value":1}',
      '{"n":0,"value":["a",1]}',
    ]) {
      assert.equal(parseReply(line), undefined, line);
    }
    assert.deepEqual(parseReply('{"n":1,"value":"x"}'), { n: 1, value: 'x' });
    assert.deepEqual(parseReply('{"n":2,"value":["x"]}'), { n: 2, value: ['x'] });
  });

  it('has no error that spoils a log', () => {
    const line = JSON.stringify({
      n: 0,
      error: `a\n\u001b[31m${'x'.repeat(9999)}`,
      hint: '\u0007',
      lost: 1,
    });
    const reply = parseReply(line);
    assert.ok(reply && 'error' in reply);
    assert.match(reply.error, /^a\?\?\[31mx+$/);
    assert.equal(reply.error.length, 500);
    assert.deepEqual([reply.hint, reply.lost], ['?', false]);
  });
});
