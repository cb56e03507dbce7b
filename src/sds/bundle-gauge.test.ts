import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createBundleGauge, type BundleProgress, type BundleProgressOf } from './bundle-gauge.ts';

function gauged(sequence = 1) {
  const state = { sequence: sequence as number | undefined, calls: 0 };
  const gauge = createBundleGauge({
    current: () => (state.sequence === undefined ? undefined : { sequence: state.sequence }),
    onError: (thrown) => assert.ifError(thrown),
  });
  const stop = gauge.onChange(() => state.calls++);
  return { state, gauge, stop };
}

interface Stream {
  readonly connection: string;
  readonly handle: BundleProgressOf;
  place: BundleProgress;
}

describe('createBundleGauge()', () => {
  it('counts nobody who reads no bundle', () => {
    const { gauge, state } = gauged();
    const stream = gauge.open('a');
    stream.at('none', { answered: true });
    stream.leave();
    assert.deepEqual([gauge.count(), state.calls], [{ readers: 0, behind: 0 }, 0]);
  });

  it('has a proxy behind until it has accepted the bundle as it is now', () => {
    const { gauge, state } = gauged();
    const stream = gauge.open('a');
    stream.at('behind');
    assert.deepEqual(gauge.count(), { readers: 1, behind: 1 });
    stream.at(1, { answered: true });
    assert.deepEqual(gauge.count(), { readers: 1, behind: 0 });
    // Not pushed yet, and behind all the same.
    state.sequence = 2;
    assert.deepEqual(gauge.count(), { readers: 1, behind: 1 });
    stream.at(2, { answered: true });
    assert.deepEqual(gauge.count(), { readers: 1, behind: 0 });
  });

  it('counts a proxy once, as behind when one of its streams is', () => {
    const { gauge } = gauged(2);
    const [one, two] = [gauge.open('a'), gauge.open('a')];
    one.at(2);
    two.at(1);
    assert.deepEqual(gauge.count(), { readers: 1, behind: 1 });
    two.at(2);
    assert.deepEqual(gauge.count(), { readers: 1, behind: 0 });
    one.at('behind');
    two.leave();
    assert.deepEqual(gauge.count(), { readers: 1, behind: 1 });
    one.leave();
    assert.deepEqual(gauge.count(), { readers: 0, behind: 0 });
  });

  it('does not let a newcomer with the new bundle stand for those that have the old one', () => {
    const { gauge, state } = gauged(1);
    gauge.open('a').at(1);
    state.sequence = 2;
    gauge.open('b').at(2, { answered: true });
    assert.deepEqual(gauge.count(), { readers: 2, behind: 1 });
  });

  it('has everybody behind a bundle that is not known', () => {
    const { gauge, state } = gauged();
    state.sequence = undefined;
    gauge.open('a').at(1);
    assert.deepEqual(gauge.count(), { readers: 1, behind: 1 });
  });

  it('tells of what is accepted, of refusals and of those that leave', () => {
    const { gauge, state, stop } = gauged();
    const stream = gauge.open('a');
    const callsAfter = (step: () => void) => {
      state.calls = 0;
      step();
      return state.calls;
    };
    assert.equal(
      callsAfter(() => stream.at(1, { answered: true })),
      1,
    );
    assert.equal(
      callsAfter(() => stream.at(1, { answered: true })),
      1,
    );
    assert.equal(
      callsAfter(() => stream.at(1)),
      0,
    );
    assert.equal(
      callsAfter(() => stream.leave()),
      1,
    );
    assert.equal(
      callsAfter(() => stream.leave()),
      0,
    );
    stop();
    assert.equal(
      callsAfter(() => stream.at(1)),
      0,
    );
  });

  it('counts as going through all streams would, whatever they do', () => {
    const place = fc.oneof(
      fc.constant('none' as const),
      fc.constant('behind' as const),
      fc.nat({ max: 3 }),
      fc.constant('left' as const),
    );
    const step = fc.record({
      stream: fc.nat({ max: 7 }),
      place,
      sequence: fc.nat({ max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { gauge, state } = gauged();
        const streams = Array.from({ length: 8 }, (_, n): Stream => ({
          connection: `${n % 3}`,
          handle: gauge.open(`${n % 3}`),
          place: 'none',
        }));
        for (const { stream: n, place: to, sequence } of steps) {
          const stream = streams[n] ?? assert.fail();
          state.sequence = sequence;
          if (to === 'left') stream.handle.leave();
          else stream.handle.at(to);
          stream.place = to === 'left' ? 'none' : to;
          const readers = new Map<string, boolean>();
          for (const { connection, place: at } of streams) {
            if (at === 'none') continue;
            readers.set(connection, (readers.get(connection) ?? false) || at !== sequence);
          }
          const behind = [...readers.values()].filter((isBehind) => isBehind).length;
          assert.deepEqual(gauge.count(), { readers: readers.size, behind });
        }
      }),
    );
  });
});
