import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, it } from 'node:test';
import { oneATurn } from './one-a-turn.ts';

describe('oneATurn()', () => {
  it('acts later, on one thing a turn, in the order of coming', async () => {
    const done: number[] = [];
    const act = oneATurn<number>((thing) => {
      done.push(thing);
      if (thing === 1) act(4);
    });
    for (const thing of [1, 2, 3]) act(thing);
    const seen: number[] = [];
    for (let n = 0; n < 5; n++) {
      seen.push(done.length);
      await nextTurn();
    }
    assert.deepEqual(done, [1, 2, 3, 4]);
    assert.ok(
      seen.every((count, n) => count - (seen[n - 1] ?? 0) <= 1),
      String(seen),
    );
    act(5);
    assert.deepEqual(done, [1, 2, 3, 4]);
    await nextTurn();
    assert.deepEqual(done, [1, 2, 3, 4, 5]);
  });
});
