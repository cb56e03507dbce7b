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

  it('gives each further user less, and keeps something for those who need little', () => {
    const shares = createShares(64, 2);
    const filled = Array.from({ length: 8 }, (_, uid) => fill(shares, uid));
    assert.deepEqual(filled, [28, 14, 7, 3, 2, 2, 2, 2]);
    assert.equal(shares.left, 4);
  });

  it('gives back what was taken', () => {
    const shares = createShares(16, 1);
    shares.take(1, 7);
    assert.equal(shares.fits(1, 1), false);
    shares.take(1, -7);
    assert.deepEqual([shares.fits(1, 7), shares.fits(1, 8), shares.left], [true, false, 16]);
  });

  it('never gives more than there is, whatever is asked in whatever order', () => {
    const step = fc.record({ uid: fc.nat(5), more: fc.integer({ min: 1, max: 8 }) });
    fc.assert(
      fc.property(fc.nat(40), fc.array(step), (total, steps) => {
        const shares = createShares(total, 2);
        for (const { uid, more } of steps) if (shares.fits(uid, more)) shares.take(uid, more);
        assert.ok(shares.left >= 0);
      }),
    );
  });
});
