import assert from 'node:assert/strict';
import { Duplex, PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createReadKeeper } from './read-keeper.ts';

/** A socket that counts how often its reading is started. */
function socket(): Duplex & { starts: number; stops: number } {
  const made = Object.assign(new PassThrough(), { starts: 0, stops: 0 });
  const handle = { readStart: () => ++made.starts, readStop: () => ++made.stops };
  return Object.assign(made, { _handle: handle });
}

describe('createReadKeeper()', () => {
  it('starts the reading of every socket again and again until it is closed', async () => {
    const clock = new FakeClock();
    const keeper = createReadKeeper(clock);
    const [a, b] = [socket(), socket()];
    keeper.add(a);
    keeper.add(b);
    await clock.advance(30_000);
    assert.deepEqual([a.starts, b.starts], [2, 2]);
    a.destroy();
    await clock.advance(15_000);
    assert.deepEqual([a.starts, b.starts], [2, 3]);
  });

  it('leaves a paused socket alone until it is to be read again', async () => {
    const clock = new FakeClock();
    const keeper = createReadKeeper(clock);
    const paused = socket();
    keeper.add(paused);
    keeper.pause(paused, true);
    await clock.advance(15_000);
    assert.deepEqual([paused.stops, paused.starts], [1, 0]);
    keeper.pause(paused, false);
    assert.deepEqual([paused.stops, paused.starts], [1, 1]);
    await clock.advance(15_000);
    assert.equal(paused.starts, 2);
    paused.destroy();
    await new Promise((resolve) => setImmediate(resolve));
    keeper.pause(paused, true);
    assert.equal(paused.stops, 1);
  });

  it('closes a connection that has not begun to speak HTTP/2 for half a minute', async () => {
    const clock = new FakeClock();
    const keeper = createReadKeeper(clock);
    const [silent, spoke] = [socket(), socket()];
    keeper.add(silent);
    keeper.add(spoke);
    keeper.greeted(spoke);
    await clock.advance(29_000);
    assert.equal(silent.destroyed, false);
    await clock.advance(30_000);
    assert.deepEqual([silent.destroyed, spoke.destroyed], [true, false]);
  });

  it('has no timer while there is no socket', async () => {
    const clock = new FakeClock();
    const keeper = createReadKeeper(clock);
    assert.equal(clock.timers, 0);
    const only = socket();
    keeper.add(only);
    assert.equal(clock.timers, 1);
    only.destroy();
    await clock.advance(15_000);
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
    await clock.advance(15_000);
    assert.equal(clock.timers, 1);
  });
});
