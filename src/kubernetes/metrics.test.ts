import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Registry } from 'prom-client';
import { registerPodMetrics } from './metrics.ts';

describe('registerPodMetrics()', () => {
  it('has seconds of silence at each scrape, which an alert can compare', async () => {
    const registry = new Registry();
    let silentMs = 1000;
    registerPodMetrics(registry, { pods: () => 3, waiting: () => 0, silentMs: () => silentMs });
    assert.match(await registry.metrics(), /^credence_kubernetes_heard_seconds 1$/m);
    silentMs = 901_000;
    assert.match(await registry.metrics(), /^credence_kubernetes_heard_seconds 901$/m);
  });
});
