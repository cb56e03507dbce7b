import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createLogger, type LogFields } from './log.ts';
import { prettyLine } from './pretty-log.ts';

/** What a terminal shows for a line of the logger. */
function pretty(fields: LogFields, message = 'done'): string {
  let text = '';
  const log = createLogger({ level: 'debug', write: (line) => (text += prettyLine(line)) });
  log.info(fields, message);
  return text;
}

describe('prettyLine()', () => {
  it('shows time of day, level, message and fields', () => {
    const line =
      '{"level":"warn","time":"2030-01-02T03:04:05.678Z","peer_pid":7,"path":"/run/x","msg":"no entry"}\n';
    assert.equal(prettyLine(line), '03:04:05.678 WARN  no entry  peer_pid=7  path=/run/x\n');
  });

  it('quotes a text that would not read as one word', () => {
    assert.match(pretty({ detail: 'two words' }), / {2}detail="two words"\n$/);
    assert.match(pretty({ detail: 'a "b"' }), / {2}detail="a \\"b\\""\n$/);
    assert.match(pretty({ detail: '' }), / {2}detail=""\n$/);
    assert.match(pretty({ detail: 'grün' }), / {2}detail=grün\n$/);
  });

  it('writes lists as JSON', () => {
    assert.match(pretty({ resource_names: ['a', 'b'] }), / {2}resource_names=\["a","b"\]\n$/);
  });

  it('shows the message of an error and not its stack', () => {
    const text = pretty({ err: new Error('no space left') });
    assert.match(text, / {2}err="no space left"\n$/);
    assert.doesNotMatch(text, /pretty-log\.test/);
  });

  it('leaves alone what is not a JSON object', () => {
    for (const line of ['', 'plain text\n', '{"cut', 'null\n', '5\n', '"text"\n', 'true\n']) {
      assert.equal(prettyLine(line), line);
    }
  });

  it('lets no peer move the cursor, add a line or turn the writing around', () => {
    for (const text of [
      '\u001b[2J\u001b[31m',
      '\u001b]0;title\u0007',
      'a\r\nb',
      '\u009b31m',
      '\u202emoc.elpmaxe',
      'a\u2028b',
      '\u007f',
    ]) {
      for (const fields of [{ detail: text }, { resource_names: [text] }, { err: text }]) {
        const shown = pretty(fields);
        assert.match(shown, /^[^\p{C}\u2028\u2029]+\n$/u, JSON.stringify(text));
        assert.match(shown, /\\/);
      }
    }
  });

  it('gives one line of visible characters for any field of any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const shown = pretty({ detail: text, selectors: [text], err: new Error(text) });
        assert.match(shown, /^[^\p{C}\u2028\u2029]+\n$/u);
      }),
    );
  });

  it('never throws, whatever the line', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (line) => void prettyLine(line)));
  });
});
