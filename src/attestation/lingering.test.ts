import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createLingering } from './lingering.ts';

/** Things are texts; whose they are is how they begin. */
function setUp(most: number) {
  const clock = new FakeClock();
  const ended: string[] = [];
  const lingering = createLingering<string>(clock, {
    most,
    ownerOf: (thing) => thing.charCodeAt(0),
    onEnd: (thing) => void ended.push(thing),
  });
  return { clock, ended, lingering };
}

describe('createLingering()', () => {
  it('ends what is not used again within a minute, and nothing else', async () => {
    const { clock, ended, lingering } = setUp(10);
    lingering.start('a1');
    lingering.start('a2');
    await clock.advance(59_000);
    lingering.stop('a1');
    lingering.start('a3');
    await clock.advance(1000);
    assert.deepEqual(ended, ['a2']);
    await clock.advance(60_000);
    assert.deepEqual(ended, ['a2', 'a3']);
    assert.equal(clock.timers, 0);
  });

  it('starts the minute anew when it is told again', async () => {
    const { clock, ended, lingering } = setUp(10);
    lingering.start('a1');
    await clock.advance(59_000);
    lingering.start('a1');
    await clock.advance(59_000);
    assert.deepEqual(ended, []);
  });

  it('takes room from who has most, the longest waiting first, and from nobody else', () => {
    const { ended, lingering } = setUp(4);
    lingering.start('b1');
    for (let n = 1; n <= 6; n++) lingering.start(`a${n}`);
    assert.deepEqual(ended, ['a1', 'a2', 'a3']);
    lingering.start('c1');
    assert.deepEqual(ended, ['a1', 'a2', 'a3', 'a4']);
  });
});
