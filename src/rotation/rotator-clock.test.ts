import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settle } from '../../test/support/fake-clock.ts';
import { broken, HOUR, rotation } from '../../test/support/rotation.ts';

describe('createRotator() with a clock that is set', () => {
  it('renews soon after the clock jumped past the point', async () => {
    const { hold, clock } = rotation();
    const { seen } = hold();
    await settle();
    clock.jump(0.6 * HOUR);
    await clock.advance(30_000);
    assert.deepEqual(seen, ['1', '2']);
  });

  it('has nothing to give when the clock jumped past the end, until it signed anew', async () => {
    const { hold, clock } = rotation();
    const { serial } = hold();
    await settle();
    clock.jump(2 * HOUR);
    assert.equal(serial(), undefined);
    await clock.advance(30_000);
    assert.equal(serial(), '2');
  });

  it('signs anew at once for who asks after a jump', async () => {
    const { hold, clock } = rotation();
    hold();
    await settle();
    clock.jump(2 * HOUR);
    const { serial } = hold();
    await settle();
    assert.equal(serial(), '2');
  });

  it('gives nothing that is not valid yet after the clock was set back, and signs anew', async () => {
    const { hold, clock, setBack, rotator } = rotation();
    const { seen, serial } = hold();
    await settle();
    setBack(2 * HOUR);
    assert.deepEqual([serial(), rotator.stats().due], [undefined, 1]);
    await clock.advance(30_000);
    assert.deepEqual([seen, serial(), rotator.stats().due], [['1', '2'], '2', 0]);
    await clock.advance(0.5 * HOUR);
    assert.equal(serial(), '3');
  });

  it('signs anew at once for who asks after the clock was set back', async () => {
    const { hold, setBack } = rotation();
    hold();
    await settle();
    setBack(2 * HOUR);
    const { serial } = hold();
    await settle();
    assert.equal(serial(), '2');
  });

  it('keeps what is still valid when the clock is set back a little', async () => {
    const { hold, clock, setBack, issuer } = rotation();
    const { serial } = hold();
    await clock.advance(0.25 * HOUR);
    setBack(0.2 * HOUR);
    await clock.advance(60_000);
    assert.deepEqual([serial(), issuer.requests.length], ['1', 1]);
  });

  it('retries after a failure before which the clock was ahead', async () => {
    const { hold, clock, setBack, issuer } = rotation();
    issuer.fault = broken;
    const { serial } = hold();
    await settle();
    setBack(2 * HOUR);
    issuer.fault = undefined;
    await clock.advance(30_000);
    assert.equal(serial(), '2');
  });

  it('drops what nobody holds in time, though the clock was set back', async () => {
    const { hold, clock, setBack, rotator } = rotation();
    const { release } = hold();
    await clock.advance(0.25 * HOUR);
    release();
    setBack(0.2 * HOUR);
    await clock.advance(90_000);
    assert.deepEqual([rotator.stats().held, clock.timers], [0, 0]);
  });
});
