import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Survey, Unserved } from './resolve.ts';
import { judge, type Leeway } from './verdict.ts';

const unserved = (...names: string[]): Unserved[] =>
  names.map((name) => ({ name, reason: `no ${name}` }));

function seen(parts: Partial<Survey>): Survey {
  return { used: new Set(), ready: [], waiting: [], denied: [], refused: [], ...parts };
}

const ends = (mayPark: Leeway['mayPark']): Leeway => ({ goesOn: false, mayPark });
const never = ends(() => assert.fail('asked about nothing'));

describe('judge()', () => {
  it('serves without asking when no name is denied', () => {
    const verdict = judge(seen({ waiting: unserved('a') }), never);
    assert.deepEqual(verdict, {
      kind: 'serve',
      ready: [],
      absent: [],
      wait: { code: 'ERR_NOT_READY', names: unserved('a') },
    });
    assert.deepEqual(judge(seen({}), never), {
      ...{ kind: 'serve', ready: [], absent: [], wait: undefined },
    });
  });

  it('denies with the first name that nobody can get, before any name that somebody could', () => {
    const parts = { denied: unserved('a'), refused: unserved('b', 'c') };
    assert.deepEqual(judge(seen(parts), never), {
      kind: 'deny',
      why: 'unknown_name',
      names: ['b'],
      reasons: ['no b'],
    });
  });

  it('denies with the reason of each name that is not parked', () => {
    const asked: Unserved[] = [];
    const verdict = judge(
      seen({ denied: unserved('a', 'b') }),
      ends((denied) => {
        asked.push(...denied);
        return false;
      }),
    );
    assert.deepEqual(asked, unserved('a', 'b'));
    assert.deepEqual(verdict, {
      kind: 'deny',
      why: 'no_entry',
      names: ['a', 'b'],
      reasons: ['no a', 'no b'],
    });
  });

  it('waits for what is being made before it waits for what is parked', () => {
    const denied = unserved('a');
    const both = judge(
      seen({ denied, waiting: unserved('b') }),
      ends(() => true),
    );
    assert.ok(both.kind === 'serve');
    assert.deepEqual(both.wait, { code: 'ERR_NOT_READY', names: unserved('b', 'a') });
    const parked = judge(
      seen({ denied }),
      ends(() => true),
    );
    assert.ok(parked.kind === 'serve');
    assert.deepEqual(parked.wait, { code: 'ERR_DENIED', names: denied });
  });

  it('goes on without names that the caller may not have, when the protocol can say so', () => {
    const parts = { denied: unserved('a'), refused: unserved('b'), waiting: unserved('c') };
    const mayPark = () => assert.fail('asked about nothing');
    const verdict = judge(seen(parts), { goesOn: true, mayPark });
    assert.ok(verdict.kind === 'serve');
    assert.deepEqual(
      verdict.absent.map(({ name, why }) => [name, why]),
      [
        ['b', 'unknown_name'],
        ['a', 'no_entry'],
      ],
    );
    assert.deepEqual(verdict.wait, { code: 'ERR_NOT_READY', names: unserved('c') });
  });
});
