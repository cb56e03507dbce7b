import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '../../test/support/fake-random.ts';
import { backoffDelay, isPutOff } from './backoff.ts';
import type { Random } from './random.ts';

const drawing = (unit: number): Random => ({ ...seededRandom(), unit: () => unit });

describe('backoffDelay()', () => {
  const limits = { baseMs: 100, maxMs: 5000 };

  it('doubles with each attempt up to the cap', () => {
    const ceilings = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => backoffDelay(n, limits, drawing(1)));
    assert.deepEqual(ceilings, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  });

  it('is jittered over its upper half', () => {
    assert.equal(backoffDelay(2, limits, drawing(0)), 200);
    assert.equal(backoffDelay(2, limits, drawing(0.5)), 300);
  });

  it('stays within half the ceiling and the ceiling for any attempt', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.integer({ min: 1, max: 60_000 }),
        fc.integer({ min: 1, max: 86_400_000 }),
        fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
        (attempt, baseMs, maxMs, unit) => {
          const delay = backoffDelay(attempt, { baseMs, maxMs }, drawing(unit));
          const least = Math.min(baseMs, maxMs) / 2;
          assert.ok(delay >= least && delay <= maxMs, `${delay}`);
          const ceiling = backoffDelay(attempt, { baseMs, maxMs }, drawing(1));
          assert.ok(delay >= ceiling / 2 && delay <= ceiling);
        },
      ),
    );
  });

  it('draws anew each time, so that those who failed together come back apart', () => {
    const random = seededRandom();
    const delays = Array.from({ length: 100 }, () => backoffDelay(3, limits, random));
    assert.ok(new Set(delays).size > 90);
  });
});

describe('isPutOff()', () => {
  const limits = { maxMs: 5000 };

  it('is so until the time has come', () => {
    assert.deepEqual(
      [999, 1000, 1001, 6000].map((at) => isPutOff(at, 1000, limits)),
      [false, false, true, true],
    );
  });

  it('is not so for a time further off than any delay: the clock was turned back', () => {
    assert.equal(isPutOff(6001, 1000, limits), false);
  });
});
