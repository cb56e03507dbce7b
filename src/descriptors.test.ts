import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { descriptorBudget } from './descriptors.ts';

const limits = (soft: number | string) =>
  `Limit                     Soft Limit           Hard Limit           Units\nMax open files            ${soft}                 1048576              files\n`;

describe('descriptorBudget()', () => {
  it('never promises more descriptors than there are', () => {
    fc.assert(
      fc.property(fc.integer({ min: 128, max: 2_000_000 }), (soft) => {
        const { connections, lingering } = descriptorBudget(limits(soft));
        assert.ok(connections * 3 + lingering * 2 + 64 <= soft);
        assert.ok(lingering <= 1024);
      }),
    );
  });

  it('has room for a connection however few there are', () => {
    assert.deepEqual(descriptorBudget(limits(10)), { connections: 1, lingering: 0 });
  });

  it('bounds only what lingers where there is no limit', () => {
    const { connections, lingering } = descriptorBudget(limits('unlimited'));
    assert.deepEqual([connections > 1e9, lingering], [true, 1024]);
  });
});
