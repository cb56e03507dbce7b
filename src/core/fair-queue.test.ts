import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { FairQueue } from './fair-queue.ts';

function drained(queue: FairQueue<string>): string[] {
  const items: string[] = [];
  for (let item = queue.shift(); item !== undefined; item = queue.shift()) items.push(item);
  return items;
}

describe('FairQueue', () => {
  it('keeps the order of one key', () => {
    const queue = new FairQueue<string>();
    for (const item of ['a', 'b', 'c']) queue.push(item, 1, 1);
    assert.deepEqual(drained(queue), ['a', 'b', 'c']);
  });

  it('lets a newcomer wait for one item of each other key', () => {
    const queue = new FairQueue<string>();
    for (let n = 0; n < 100; n++) queue.push(`busy ${n}`, 1, 1);
    queue.push('new', 1, 2);
    assert.deepEqual(drained(queue).slice(0, 3), ['busy 0', 'new', 'busy 1']);
  });

  it('gives a first key one turn however many second keys it has', () => {
    const queue = new FairQueue<string>();
    for (let n = 0; n < 100; n++) queue.push(`fork ${n}`, 1, n);
    for (let n = 0; n < 3; n++) queue.push(`honest ${n}`, 2, 1);
    const order = drained(queue);
    assert.deepEqual(order.slice(0, 6), [
      'fork 0',
      'honest 0',
      'fork 1',
      'honest 1',
      'fork 2',
      'honest 2',
    ]);
  });

  it('gives back everything, in order for each key, whatever is mixed', () => {
    const step = fc.oneof(
      fc.record({ push: fc.nat(3), second: fc.nat(3) }),
      fc.constant({ push: -1, second: 0 }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const queue = new FairQueue<{ key: string; n: number }>();
        const last = new Map<string, number>();
        let inside = 0;
        const take = () => {
          const item = queue.shift();
          assert.equal(item === undefined, inside === 0);
          if (!item) return;
          inside--;
          assert.ok(item.n > (last.get(item.key) ?? -1));
          last.set(item.key, item.n);
        };
        steps.forEach(({ push, second }, n) => {
          if (push < 0) return take();
          queue.push({ key: `${push}.${second}`, n }, push, second);
          inside++;
        });
        assert.equal(queue.size, inside);
        while (inside > 0) take();
        assert.equal(queue.shift(), undefined);
      }),
    );
  });
});
