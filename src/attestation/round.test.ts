import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createRound } from './round.ts';

describe('createRound()', () => {
  it('goes on where it stopped, and begins anew after the last', () => {
    const round = createRound<string>();
    for (const one of 'abcde') round.add(one);
    assert.deepEqual(round.next(3), ['a', 'b', 'c']);
    assert.deepEqual(round.next(3), ['d', 'e', 'a']);
  });

  it('names each once, also when more are asked for', () => {
    const round = createRound<string>();
    assert.deepEqual(round.next(3), []);
    for (const one of 'ab') round.add(one);
    assert.deepEqual(round.next(3), ['a', 'b']);
    assert.deepEqual(round.next(3), ['a', 'b']);
  });

  it('keeps the place of one that is added again: who comes often does not wait longer', () => {
    const round = createRound<string>();
    for (const one of 'ab') round.add(one);
    round.add('a');
    assert.deepEqual(round.next(1), ['a']);
  });

  it('reaches everyone that stays within one round, whoever comes and goes meanwhile', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.nat(20)), { maxLength: 60 }),
        fc.integer({ min: 1, max: 7 }),
        (changes, most) => {
          const round = createRound<number>();
          const staying = Array.from({ length: 10 }, (_, n) => 100 + n);
          for (const one of staying) round.add(one);
          const seen = new Set<number>();
          // Two rounds: the first may have begun behind those that are counted.
          for (let n = 0; n < Math.ceil((2 * (10 + 21 + 60)) / most); n++) {
            const [isNew, thing] = changes[n] ?? [true, 0];
            if (isNew) round.add(thing);
            else round.delete(thing);
            const some = round.next(most);
            assert.equal(new Set(some).size, some.length);
            for (const one of some) seen.add(one);
          }
          assert.ok(staying.every((one) => seen.has(one)));
        },
      ),
    );
  });
});
