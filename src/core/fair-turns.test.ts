import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { createFairTurns } from './fair-turns.ts';

/** Resolves after one turn of the event loop, behind the looks that are due in it. */
const oneTurn = () => new Promise((resolve) => setImmediate(resolve));

function setUp(looksTakeMs = 0) {
  const clock = new FakeClock();
  const looks: string[] = [];
  const errors: unknown[] = [];
  const broken = new Set<string>();
  const turns = createFairTurns<string>({
    clock,
    look(item) {
      looks.push(item);
      clock.spend(looksTakeMs);
      if (broken.has(item)) throw new Error('broken');
      turns.delete(item);
    },
    onError: (thrown) => errors.push(thrown),
  });
  return { turns, looks, errors, broken };
}

describe('createFairTurns()', () => {
  it('looks in slices, so that others have their turn in between', async () => {
    const { turns, looks } = setUp();
    for (let n = 0; n < 40; n++) turns.add(`item ${n}`, 1);
    await oneTurn();
    assert.equal(looks.length, 16);
    await settle();
    assert.equal(looks.length, 40);
  });

  it('ends a slice after its time, when looks take long', async () => {
    const { turns, looks } = setUp(2);
    for (let n = 0; n < 10; n++) turns.add(`item ${n}`, 1);
    await oneTurn();
    assert.equal(looks.length, 3);
    await settle();
    assert.equal(looks.length, 10);
  });

  it('looks once at one that is added again and again, in its first place', async () => {
    const { turns, looks } = setUp();
    for (const item of ['a', 'b', 'a', 'a']) turns.add(item, 1);
    await settle();
    assert.deepEqual(looks, ['a', 'b']);
  });

  it('does not look at one that was deleted, and does when it is due again', async () => {
    const { turns, looks } = setUp();
    turns.add('a', 1);
    turns.add('b', 1);
    assert.deepEqual([turns.delete('a'), turns.delete('a'), turns.has('a')], [true, false, false]);
    await settle();
    assert.deepEqual(looks, ['b']);
    turns.add('a', 1);
    turns.delete('a');
    turns.add('a', 1);
    await settle();
    assert.deepEqual(looks, ['b', 'a']);
  });

  it('keeps one due whose look fails, and goes on with the others', async () => {
    const { turns, looks, errors, broken } = setUp();
    broken.add('a');
    turns.add('a', 1);
    turns.add('b', 1);
    await settle();
    assert.deepEqual([looks, errors.length, turns.has('a')], [['a', 'b'], 1, true]);
    turns.add('a', 1);
    await settle();
    assert.deepEqual(looks, ['a', 'b', 'a']);
  });
});
