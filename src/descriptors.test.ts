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
        const { connections, lingering, operator } = descriptorBudget(limits(soft));
        // The admin socket, the metrics port, and what the daemon has of its own.
        assert.ok(connections * 3 + lingering * 2 + operator * 2 + 64 <= soft);
        assert.ok(lingering <= 1024 && operator >= 4 && operator <= 64);
      }),
    );
  });

  it('has room for a connection however few there are', () => {
    assert.deepEqual(descriptorBudget(limits(10)), { connections: 1, lingering: 0, operator: 4 });
  });

  it('leaves most to proxies where there are few, and some to the operator', () => {
    assert.deepEqual(descriptorBudget(limits(256)), {
      connections: 49,
      lingering: 10,
      operator: 12,
    });
  });

  it('bounds only what lingers, and the operator, where there is no limit', () => {
    const { connections, lingering, operator } = descriptorBudget(limits('unlimited'));
    assert.deepEqual([connections > 1e9, lingering, operator], [true, 1024, 64]);
  });
});
