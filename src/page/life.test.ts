import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readLife } from './life.ts';

const LIFE = { beginMs: 0, endMs: 600_000, turnMs: 300_000 };

describe('readLife()', () => {
  it('says how much is spent, where the rotation is and how long until both', () => {
    assert.deepEqual(readLife(LIFE, 150_000), {
      spent: 0.25,
      turn: 0.5,
      tone: 'good',
      expires: 'expires in 7m 30s',
      rotates: 'rotates in 2m 30s',
    });
  });

  it('is overdue two seconds after its rotation, not while that is on its way', () => {
    assert.equal(readLife(LIFE, 302_000)?.tone, 'good');
    assert.equal(readLife(LIFE, 302_000)?.rotates, 'rotates in 0s');
    assert.equal(readLife(LIFE, 303_000)?.tone, 'due');
    assert.equal(readLife(LIFE, 303_000)?.rotates, 'rotation overdue by 3s');
  });

  it('is over from the moment of its end on', () => {
    assert.equal(readLife(LIFE, 599_999)?.tone, 'due');
    const over = readLife(LIFE, 600_000);
    assert.deepEqual([over?.tone, over?.spent], ['over', 1]);
    assert.equal(readLife(LIFE, 661_000)?.expires, 'expired 1m 1s ago');
  });

  it('is nothing without an end, and has no rotation point where none is planned', () => {
    assert.equal(readLife({ ...LIFE, endMs: null }, 0), undefined);
    assert.deepEqual(readLife({ ...LIFE, turnMs: null }, 300_000)?.turn, null);
  });

  it('stays on its scale whatever the daemon says', () => {
    const time = fc.option(fc.integer(), { nil: null });
    fc.assert(
      fc.property(time, time, time, fc.integer(), (beginMs, endMs, turnMs, nowMs) => {
        const reading = readLife({ beginMs, endMs, turnMs }, nowMs);
        for (const part of [reading?.spent ?? 0, reading?.turn ?? 0]) {
          assert.ok(part >= 0 && part <= 1, String(part));
        }
      }),
    );
  });
});
