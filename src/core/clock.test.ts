import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { abortReason, sleep, systemClock, unlessAborted } from './clock.ts';

const DAY = 86_400_000;

describe('systemClock', () => {
  it('tells the wall time', () => {
    const before = Date.now();
    const now = systemClock.now();
    assert.ok(now >= before && now <= Date.now());
  });

  it('measures on a clock that setting the wall clock does not move', (t) => {
    const started = systemClock.monotonic();
    t.mock.timers.enable({ apis: ['Date'], now: 0 });
    const after = systemClock.monotonic();
    assert.equal(systemClock.now(), 0);
    assert.ok(after >= started && after - started < 60_000);
  });

  it('calls once after the delay', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    let calls = 0;
    systemClock.after(1000, () => calls++);
    t.mock.timers.tick(999);
    assert.equal(calls, 0);
    t.mock.timers.tick(1);
    assert.equal(calls, 1);
    t.mock.timers.tick(10_000);
    assert.equal(calls, 1);
  });

  it('calls at the next turn, never at once, when the delay is nothing or less', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    let calls = 0;
    systemClock.after(0, () => calls++);
    systemClock.after(-5000, () => calls++);
    assert.equal(calls, 0);
    t.mock.timers.tick(1);
    assert.equal(calls, 2);
  });

  it('does not call what was cancelled, however often', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    let calls = 0;
    const timer = systemClock.after(10, () => calls++);
    timer.cancel();
    timer.cancel();
    t.mock.timers.tick(100);
    assert.equal(calls, 0);
  });

  it('waits out a delay that is longer than setTimeout can count', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    let calls = 0;
    systemClock.after(60 * DAY, () => calls++);
    // Two pieces of 24.8 days, then what is left.
    const longest = 2 ** 31 - 1;
    for (const ms of [longest, longest, 60 * DAY - 2 * longest - 1]) t.mock.timers.tick(ms);
    assert.equal(calls, 0);
    t.mock.timers.tick(1);
    assert.equal(calls, 1);
  });

  it('can cancel such a delay in its second piece', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    let calls = 0;
    const timer = systemClock.after(30 * DAY, () => calls++);
    t.mock.timers.tick(26 * DAY);
    timer.cancel();
    t.mock.timers.tick(26 * DAY);
    assert.equal(calls, 0);
  });

  it('keeps no process alive', () => {
    const url = new URL('./clock.ts', import.meta.url).href;
    const program = `import(${JSON.stringify(url)}).then(({ systemClock }) => {
      systemClock.after(3_600_000, () => undefined);
      console.log('set');
    });`;
    const args = ['--import', 'tsx', '-e', program];
    const { status, stdout } = spawnSync(process.execPath, args, { timeout: 30_000 });
    assert.deepEqual([status, stdout.toString().trim()], [0, 'set']);
  });
});

describe('sleep()', () => {
  it('resolves after the delay and not before', async () => {
    const clock = new FakeClock();
    let done = false;
    const sleeping = sleep(clock, 500).then(() => (done = true));
    await clock.advance(499);
    assert.equal(done, false);
    await clock.advance(1);
    await sleeping;
    assert.equal(done, true);
  });

  it('rejects with the reason as soon as it is aborted, and leaves no timer', async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const sleeping = sleep(clock, 500, { signal: controller.signal });
    const reason = new Error('shutting down');
    controller.abort(reason);
    await assert.rejects(sleeping, reason);
    assert.equal(clock.timers, 0);
  });

  it('rejects at once when the signal was aborted before', async () => {
    const clock = new FakeClock();
    const reason = new Error('too late');
    await assert.rejects(sleep(clock, 500, { signal: AbortSignal.abort(reason) }), reason);
    assert.equal(clock.timers, 0);
  });

  it('leaves no listener on a signal that outlives many sleeps', async () => {
    const clock = new FakeClock();
    const { signal } = new AbortController();
    for (let n = 0; n < 20; n++) {
      const sleeping = sleep(clock, 10, { signal });
      await clock.advance(10);
      await sleeping;
    }
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });

  it('stays resolved when it is aborted afterwards', async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const sleeping = sleep(clock, 10, { signal: controller.signal });
    await clock.advance(10);
    controller.abort(new Error('late'));
    await settle();
    await sleeping;
  });
});

describe('abortReason()', () => {
  it('is the reason itself when that is an error', () => {
    const reason = new Error('mine');
    assert.equal(abortReason(AbortSignal.abort(reason)), reason);
    assert.equal(abortReason(AbortSignal.abort()).name, 'AbortError');
  });

  it('is an error for any other reason', () => {
    assert.equal(abortReason(AbortSignal.abort('a text')).message, 'aborted');
  });
});

describe('unlessAborted()', () => {
  it('settles like the promise, and leaves no listener', async () => {
    const { signal } = new AbortController();
    assert.equal(await unlessAborted(Promise.resolve(1), signal), 1);
    await assert.rejects(unlessAborted(Promise.reject(new Error('broken')), signal), /broken/);
    await settle();
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    assert.equal(await unlessAborted(Promise.resolve(2), undefined), 2);
  });

  it('rejects with the reason once aborted, whatever becomes of the promise', async () => {
    const abort = new AbortController();
    let fail: (error: Error) => void = () => undefined;
    const work = new Promise<never>((_, reject) => (fail = reject));
    const waiting = unlessAborted(work, abort.signal);
    abort.abort(new Error('gone'));
    await assert.rejects(waiting, /gone/);
    await assert.rejects(unlessAborted(work, abort.signal), /gone/);
    // Unhandled, this would fail the test.
    fail(new Error('late'));
    await settle();
  });
});
