import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { systemRandom } from './random.ts';

describe('systemRandom', () => {
  it('draws from 0 up to but not including 1', () => {
    const draws = Array.from({ length: 1000 }, () => systemRandom.unit());
    assert.ok(draws.every((unit) => unit >= 0 && unit < 1));
    assert.ok(new Set(draws).size > 990);
  });

  it('gives as many bytes as asked for', () => {
    for (const length of [0, 1, 16, 20, 32, 100_000]) {
      assert.equal(systemRandom.bytes(length).length, length);
    }
  });

  it('gives bytes that nobody has had before', () => {
    const seen = new Set(
      Array.from({ length: 1000 }, () => systemRandom.bytes(16).toString('hex')),
    );
    assert.equal(seen.size, 1000);
  });

  it('gives bytes that keep their values while others are drawn', () => {
    const first = systemRandom.bytes(16);
    const copy = first.toString('hex');
    for (let n = 0; n < 100; n++) systemRandom.bytes(16);
    assert.equal(first.toString('hex'), copy);
  });

  it('fills all of them: every value of a byte turns up in every place', () => {
    const rows = Array.from({ length: 4096 }, () => systemRandom.bytes(4));
    for (let place = 0; place < 4; place++) {
      // Each is missing with a probability of 256 × e^-16.
      assert.equal(new Set(rows.map((row) => row[place])).size, 256);
    }
  });
});
