import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { FakeLogger } from '../../test/support/issuer.ts';
import { createWatched } from './watched.ts';

function setUp() {
  const log = new FakeLogger();
  let changes = 0;
  const watched = createWatched<string>(
    'Kind',
    ({ spec }) => {
      const value = typeof spec === 'string' ? spec : undefined;
      return { value, faults: value === undefined ? ['spec: expected a text'] : [], warnings: [] };
    },
    { log, changed: () => changes++ },
  );
  const object = (name: string, spec: unknown, uid = `uid-${name}`, status = {}) => ({
    metadata: { name, uid, creationTimestamp: `2026-01-0${name.length}T00:00:00Z` },
    ...{ spec, status },
  });
  return { watched, log, object, changes: () => changes };
}

describe('createWatched()', () => {
  it('has what the server told of, in the order in which it was made', () => {
    const { watched, object, changes } = setUp();
    watched.replace([object('bb', 'second'), object('a', 'first')]);
    watched.put(object('ccc', 'third'));
    assert.deepEqual(watched.values(), ['first', 'second', 'third']);
    watched.remove(object('a', 'first'));
    watched.replace([object('bb', 'second')]);
    assert.deepEqual(watched.values(), ['second']);
    assert.equal(changes(), 4);
  });

  it('keeps the last good version of what has become wrong, and says so once', () => {
    const { watched, object, log, changes } = setUp();
    watched.put(object('a', 'good'));
    watched.put(object('a', 5));
    watched.put(object('a', 5));
    assert.deepEqual(watched.values(), ['good']);
    assert.equal(changes(), 1);
    assert.equal(log.count('warn', 'manifest refused'), 1);
    assert.deepEqual(watched.faults(), [{ name: 'a', fault: 'spec: expected a text', kept: true }]);
    watched.put(object('a', 'better'));
    assert.deepEqual([watched.values(), watched.faults()], [['better'], []]);
  });

  it('keeps nothing of one that was made again under its name', () => {
    const { watched, object } = setUp();
    watched.put(object('a', 'good', 'uid-1'));
    watched.put(object('a', 5, 'uid-2'));
    assert.deepEqual(watched.values(), []);
    assert.deepEqual(
      watched.faults().map(({ kept }) => kept),
      [false],
    );
  });

  it('takes a status that was written for no change', () => {
    const { watched, object, changes } = setUp();
    watched.put(object('a', 'good'));
    const before = watched.values();
    watched.put(object('a', 'good', 'uid-a', { stats: { podsSelected: 1 } }));
    assert.equal(watched.values(), before);
    assert.equal(changes(), 1);
    assert.deepEqual(watched.statusOf('a'), { stats: { podsSelected: 1 } });
  });

  it('never throws, whatever it is told', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), (objects) => {
        const { watched } = setUp();
        watched.replace(objects);
        for (const one of objects) watched.put(one);
        for (const one of objects) watched.remove(one);
        assert.deepEqual(watched.values(), []);
      }),
    );
  });
});
