import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createRates } from './rates.ts';

function take(rates: { take(key: number): boolean }, times: number, key = 1): number {
  return Array.from({ length: times }, () => rates.take(key)).filter(Boolean).length;
}

describe('createRates()', () => {
  it('gives the burst at once, then so many per second', async () => {
    const clock = new FakeClock();
    const rates = createRates({ burst: 10, perSecond: 2 }, clock);
    assert.equal(take(rates, 100), 10);
    await clock.advance(1000);
    assert.equal(take(rates, 100), 2);
    await clock.advance(499);
    assert.equal(take(rates, 100), 0);
    await clock.advance(1);
    assert.equal(take(rates, 100), 1);
  });

  it('never saves up more than the burst', async () => {
    const clock = new FakeClock();
    const rates = createRates({ burst: 3, perSecond: 100 }, clock);
    take(rates, 3);
    await clock.advance(3_600_000);
    assert.equal(take(rates, 100), 3);
  });

  it('keeps keys apart', () => {
    const rates = createRates({ burst: 2, perSecond: 1 }, new FakeClock());
    assert.equal(take(rates, 5, 1), 2);
    assert.equal(take(rates, 5, 2), 2);
  });

  for (const [how, ms] of [
    ['back', -3_600_000],
    ['forward', 3_600_000],
  ] as const) {
    it(`goes on as before when the wall clock is set ${how}`, async () => {
      const clock = new FakeClock();
      const rates = createRates({ burst: 5, perSecond: 1 }, clock);
      take(rates, 5);
      clock.jump(ms);
      assert.equal(rates.has(1), false);
      await clock.advance(1000);
      assert.equal(rates.has(1), true);
      assert.equal(take(rates, 100), 1);
    });
  }

  it('forgets keys that have all they may take again', async () => {
    const clock = new FakeClock();
    const rates = createRates({ burst: 2, perSecond: 1 }, clock);
    for (let n = 0; n < 100_000; n++) {
      rates.take(n);
      if (n % 100 === 0) await clock.advance(100);
    }
    assert.ok(rates.size < 5000, `${rates.size} keys`);
  });
});
