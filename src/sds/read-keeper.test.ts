import assert from 'node:assert/strict';
import { Duplex, PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createReadKeeper } from './read-keeper.ts';

/** A socket that counts how often its reading is started. */
function socket(): Duplex & { starts: number } {
  const made = Object.assign(new PassThrough(), { starts: 0 });
  Object.assign(made, { _handle: { readStart: () => ++made.starts } });
  return made;
}

describe('createReadKeeper()', () => {
  it('starts the reading of every socket again and again until it is closed', async () => {
    const clock = new FakeClock();
    const keeper = createReadKeeper(clock);
    const [a, b] = [socket(), socket()];
    keeper.add(a);
    keeper.add(b);
    await clock.advance(10_000);
    assert.deepEqual([a.starts, b.starts], [2, 2]);
    a.destroy();
    await clock.advance(5000);
    assert.deepEqual([a.starts, b.starts], [2, 3]);
  });

  it('has no timer while there is no socket', async () => {
    const clock = new FakeClock();
    const keeper = createReadKeeper(clock);
    assert.equal(clock.timers, 0);
    const only = socket();
    keeper.add(only);
    assert.equal(clock.timers, 1);
    only.destroy();
    await clock.advance(5000);
    assert.equal(clock.timers, 0);
    keeper.add(socket());
    keeper.close();
    assert.equal(clock.timers, 0);
  });

  it('lets a socket without a handle be', async () => {
    const clock = new FakeClock();
    const keeper = createReadKeeper(clock);
    keeper.add(new PassThrough());
    keeper.add(Object.assign(new PassThrough(), { _handle: null }));
    await clock.advance(5000);
    assert.equal(clock.timers, 1);
  });
});
