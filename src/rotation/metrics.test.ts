import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Registry } from 'prom-client';
import { registerRotationMetrics } from './metrics.ts';
import type { RotationStats } from './rotator.ts';

describe('registerRotationMetrics()', () => {
  it('shows what the rotator holds now', async () => {
    let stats: RotationStats = { held: 3, due: 1, earliestNotAfterMs: 1_900_000_000_500 };
    const registry = new Registry();
    registerRotationMetrics(registry, { stats: () => stats }, { now: () => 1_900_000_000_000 });
    const text = await registry.metrics();
    assert.match(text, /^credence_rotation_held_svids 3$/m);
    assert.match(text, /^credence_rotation_due_svids 1$/m);
    assert.match(
      text,
      /^credence_svid_not_after_timestamp_seconds\{quantile="min"\} 1900000000\.5$/m,
    );
    assert.match(text, /^credence_svid_seconds_to_expiry\{quantile="min"\} 0\.5$/m);
    stats = { held: 0, due: 0, earliestNotAfterMs: undefined };
    const later = await registry.metrics();
    assert.match(later, /^credence_rotation_held_svids 0$/m);
    assert.doesNotMatch(later, /quantile="min"/);
  });

  it('asks the rotator once for all that a scrape shows', async () => {
    const registry = new Registry();
    let asked = 0;
    const stats = () => ({ held: ++asked, due: asked, earliestNotAfterMs: asked * 1000 });
    registerRotationMetrics(registry, { stats }, { now: () => 0 });
    for (const scrape of [1, 2]) {
      const values = [
        ...(await registry.metrics()).matchAll(/^credence_(?!rotation_lag).* (\S+)$/gm),
      ];
      assert.deepEqual(
        values.map(([, value]) => Number(value)),
        [scrape, scrape, scrape, scrape],
      );
    }
  });

  it('measures in seconds, and no time before the point as none', async () => {
    const registry = new Registry();
    const rotator = { stats: () => ({ held: 0, due: 0, earliestNotAfterMs: undefined }) };
    const metrics = registerRotationMetrics(registry, rotator, { now: () => 0 });
    metrics.observeLag(20);
    metrics.observeLag(-5);
    const text = await registry.metrics();
    assert.match(text, /^credence_rotation_lag_seconds_sum 0\.02$/m);
    assert.match(text, /^credence_rotation_lag_seconds_count 2$/m);
  });
});
