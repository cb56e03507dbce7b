import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createRound, type Round } from './round.ts';

function take<T>(round: Round<T>, count: number): (T | undefined)[] {
  return Array.from({ length: count }, () => round.next());
}

describe('createRound()', () => {
  it('gives each a turn, and begins anew after the last', () => {
    const round = createRound<string>();
    assert.equal(round.next(), undefined);
    for (const one of 'abc') round.add(one);
    assert.deepEqual(take(round, 4), ['a', 'b', 'c', 'a']);
    assert.equal(round.size, 3);
    round.delete('b');
    assert.deepEqual(take(round, 3), ['c', 'a', 'c']);
  });

  it('keeps the place of one that is added again: who comes often does not wait longer', () => {
    const round = createRound<string>();
    for (const one of 'ab') round.add(one);
    round.add('a');
    assert.deepEqual(take(round, 2), ['a', 'b']);
  });

  it('reaches everyone that stays, however many come and go for ever', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5), { minLength: 1, maxLength: 20 }), (comers) => {
        const round = createRound<number>();
        const staying = Array.from({ length: 10 }, (_, n) => 100 + n);
        for (const one of [...comers, ...staying]) round.add(one);
        const seen = new Set<number | undefined>();
        // Two rounds: each comer is there once.
        for (let n = 0; n < 2 * (10 + 6); n++) {
          for (const one of comers) {
            round.delete(one);
            round.add(one);
          }
          seen.add(round.next());
        }
        assert.ok(staying.every((one) => seen.has(one)));
      }),
    );
  });
});
