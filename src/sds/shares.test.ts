import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createShares } from './shares.ts';

describe('createShares()', () => {
  /** Takes one at a time for as long as it may. */
  function fill(shares: ReturnType<typeof createShares>, uid: number): number {
    while (shares.fits(uid, 1)) shares.take(uid, 1);
    return shares.of(uid);
  }

  it('gives a user half, the next one half of the rest, and somebody new always something', () => {
    const shares = createShares(64);
    assert.deepEqual(
      [1, 2, 3, 4].map((uid) => fill(shares, uid)),
      [32, 16, 8, 4],
    );
    assert.equal(shares.left, 4);
  });

  it('gives back what was taken', () => {
    const shares = createShares(10);
    shares.take(1, 5);
    assert.equal(shares.fits(1, 1), false);
    shares.take(1, -5);
    assert.deepEqual([shares.fits(1, 5), shares.fits(1, 6), shares.left], [true, false, 10]);
  });

  it('never gives more than there is, whatever is asked in whatever order', () => {
    const step = fc.record({ uid: fc.nat(5), more: fc.integer({ min: 1, max: 8 }) });
    fc.assert(
      fc.property(fc.nat(40), fc.array(step), (total, steps) => {
        const shares = createShares(total);
        for (const { uid, more } of steps) if (shares.fits(uid, more)) shares.take(uid, more);
        assert.ok(shares.left >= 0);
      }),
    );
  });
});
