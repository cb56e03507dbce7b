import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { dueTime, isValidAt, nextMint, renewalTime, retryLimits } from './renewal.ts';

const HOUR = 3_600_000;
const life = { issuedAtMs: 1000 * HOUR, notAfterMs: 1001 * HOUR };

describe('renewalTime()', () => {
  it('is half the life when there is no jitter', () => {
    const at = renewalTime(life, { fraction: 0.5, jitter: 0 }, 0.99);
    assert.equal(at, life.issuedAtMs + HOUR / 2);
  });

  it('is within the jitter, at its edges for the edges of the draw', () => {
    const policy = { fraction: 0.5, jitter: 0.1 };
    assert.equal(renewalTime(life, policy, 0), life.issuedAtMs + 0.45 * HOUR);
    assert.equal(renewalTime(life, policy, 0.5), life.issuedAtMs + 0.5 * HOUR);
    assert.equal(renewalTime(life, policy, 1), life.issuedAtMs + 0.55 * HOUR);
  });

  it('spreads evenly', () => {
    const policy = { fraction: 0.5, jitter: 0.1 };
    const draws = Array.from({ length: 1000 }, (_, n) => renewalTime(life, policy, n / 1000));
    const mean = draws.reduce((sum, at) => sum + at - life.issuedAtMs, 0) / draws.length;
    assert.ok(Math.abs(mean - HOUR / 2) < HOUR / 1000);
  });

  it('never lies outside the life, whatever the policy', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 2 ** 31 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (length, fraction, jitter, unit) => {
          const issuedAtMs = 1e12;
          const at = renewalTime(
            { issuedAtMs, notAfterMs: issuedAtMs + length },
            { fraction, jitter },
            unit,
          );
          assert.ok(Number.isInteger(at) && at >= issuedAtMs && at <= issuedAtMs + length);
        },
      ),
    );
  });

  it('keeps a distance from the signing, while lives get shorter with an ending CA', () => {
    const at = renewalTime({ issuedAtMs: 0, notAfterMs: 150 }, { fraction: 0.5, jitter: 0 }, 0);
    assert.equal(at, 100);
  });

  it('is now for a certificate that has run out', () => {
    const at = renewalTime({ issuedAtMs: 50, notAfterMs: 10 }, { fraction: 0.5, jitter: 0 }, 0);
    assert.equal(at, 50);
  });
});

describe('retryLimits()', () => {
  it('lets at least four attempts fit before the end', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2000, max: 10_000_000 }), (leftMs) => {
        const { maxMs } = retryLimits(0, leftMs);
        assert.ok(maxMs * 4 <= leftMs && maxMs <= 30_000);
      }),
    );
  });

  it('stays slow enough near the end, and slows down again after it', () => {
    assert.deepEqual(retryLimits(0, 1000), { baseMs: 500, maxMs: 500 });
    for (const notAfterMs of [0, -5000]) {
      assert.deepEqual(retryLimits(0, notAfterMs), { baseMs: 500, maxMs: 7500 });
    }
  });

  it('gives a first SVID the common limits', () => {
    assert.deepEqual(retryLimits(0, undefined), { baseMs: 500, maxMs: 7500 });
  });
});

describe('dueTime() and nextMint()', () => {
  const svid = { notBeforeMs: 1000 * HOUR, notAfterMs: 1001 * HOUR };
  const current = { svid, renewAtMs: 1000.5 * HOUR };
  const [before, within, after] = [999 * HOUR, 1000.1 * HOUR, 1001 * HOUR];

  it('are the renewal point while the certificate is valid, else now', () => {
    for (const [now, due] of [
      [before, before],
      [within, current.renewAtMs],
      [after, after],
    ] as const) {
      assert.equal(dueTime(current, now), due);
      assert.equal(nextMint(current, 0, now), due);
      assert.equal(isValidAt(svid, now), now === within);
    }
    assert.equal(dueTime(undefined, within), within);
  });

  it('wait for a retry, but for none that lies beyond the longest delay', () => {
    assert.equal(nextMint(undefined, within + 30_000, within), within + 30_000);
    assert.equal(nextMint(undefined, within + 30_001, within), within);
    assert.equal(nextMint(current, within + 30_000, within), current.renewAtMs);
  });
});
