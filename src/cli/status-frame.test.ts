import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { frame } from './status-frame.ts';

describe('frame()', () => {
  it('leaves a text that fits as it is, with a row for the cursor', () => {
    assert.equal(frame('a\nb\n', { rows: 3, columns: 80 }), 'a\nb\n');
  });

  it('says how many lines are left out', () => {
    assert.equal(frame('a\nb\nc\nd\n', { rows: 4, columns: 80 }), 'a\nb\n… 2 more lines\n');
    assert.equal(frame('a\nbbbb\n', { rows: 3, columns: 3 }), 'a\n… 1 more line\n');
  });

  it('counts a line that wraps as the rows it takes, a wide letter as two columns', () => {
    assert.equal(frame('aaaa\nb\nc\n', { rows: 4, columns: 3 }), 'aaaa\n… 2 more lines\n');
    assert.equal(frame('証証\nb\nc\n', { rows: 4, columns: 3 }), '証証\n… 2 more lines\n');
  });

  it('never takes more lines than the screen has, nor drops one without saying so', () => {
    const lines = fc.array(fc.string({ maxLength: 40 }).map((line) => line.replaceAll('\n', '')));
    const size = {
      rows: fc.integer({ min: 2, max: 30 }),
      columns: fc.integer({ min: 1, max: 50 }),
    };
    fc.assert(
      fc.property(lines, fc.record(size), (all, screen) => {
        const shown = frame(all.map((line) => `${line}\n`).join(''), screen).split('\n');
        assert.equal(shown.pop(), '');
        assert.ok(shown.length < screen.rows);
        const more = /^… (\d+) more lines?$/.exec(shown.at(-1) ?? '')?.[1];
        const told = more === undefined ? shown.length : shown.length - 1 + Number(more);
        assert.equal(told, Math.max(all.length, 1));
      }),
    );
  });
});
