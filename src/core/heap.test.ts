import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Heap, type HeapItem } from './heap.ts';

/** A push of this time, or the removal of one of the items inside. */
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ push: fc.integer({ min: 0, max: 50 }) }) },
  { weight: 2, arbitrary: fc.record({ remove: fc.nat() }) },
);

describe('Heap', () => {
  it('has nothing on top when it is empty', () => {
    const heap = new Heap<string>();
    assert.equal(heap.peek(), undefined);
    assert.equal(heap.size, 0);
  });

  it('keeps the least on top through any pushes and removals, and gives all in order', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const heap = new Heap<number>();
        const inside: HeapItem<number>[] = [];
        for (const [n, step] of steps.entries()) {
          if ('push' in step) {
            inside.push(heap.push(step.push, n));
          } else if (inside.length > 0) {
            const [item] = inside.splice(step.remove % inside.length, 1);
            assert.ok(item && heap.remove(item));
          }
          assert.equal(heap.size, inside.length);
          const least = Math.min(...inside.map(({ at }) => at));
          assert.equal(heap.peek()?.at ?? Infinity, least);
        }
        const drained: number[] = [];
        for (let item = heap.peek(); item; item = heap.peek()) {
          drained.push(item.at);
          heap.remove(item);
        }
        const sorted = inside.map(({ at }) => at).sort((a, b) => a - b);
        assert.deepEqual(drained, sorted);
      }),
    );
  });

  it('removes an item once, and never one of another heap', () => {
    const heap = new Heap<string>();
    const other = new Heap<string>();
    const item = heap.push(1, 'a');
    const foreign = other.push(1, 'a');
    assert.equal(heap.remove(foreign), false);
    assert.equal(heap.remove(item), true);
    assert.equal(heap.remove(item), false);
    assert.deepEqual([heap.size, other.size], [0, 1]);
  });

  it('gives back what was pushed', () => {
    const heap = new Heap<{ name: string }>();
    const value = { name: 'a' };
    const item = heap.push(7, value);
    assert.equal(heap.peek(), item);
    assert.equal(item.value, value);
  });
});
