import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Registry } from 'prom-client';
import { registerPushGauges } from './metrics.ts';
import { Subscription } from './subscription.ts';

describe('registerPushGauges()', () => {
  it('shows pushes without an answer, the age of the oldest, and what is refused', async () => {
    const subscription = new Subscription();
    subscription.replace(new Set(['default', 'ROOTCA']));
    const send = (nonce: string, name: string, version: string, nowMs: number) =>
      subscription.sent(nonce, [{ name, version, svid: undefined }], nowMs);
    const registry = new Registry();
    registerPushGauges(registry, () => [subscription], { now: () => 10_000 });
    const shown = () =>
      ['unacknowledged_pushes', 'oldest_unacknowledged_push_seconds', 'refused_secrets'].map(
        async (name) => {
          const { values } = (await registry.getSingleMetric(`credence_sds_${name}`)?.get()) ?? {};
          return values?.[0]?.value;
        },
      );
    assert.deepEqual(await Promise.all(shown()), [0, 0, 0]);
    send('n1', 'default', 'v1', 4000);
    send('n2', 'ROOTCA', 'v1', 7000);
    assert.deepEqual(await Promise.all(shown()), [2, 6, 0]);
    subscription.answered('n1', 'no');
    assert.deepEqual(await Promise.all(shown()), [1, 3, 1]);
    send('n3', 'default', 'v2', 9000);
    subscription.answered('n3', undefined);
    subscription.answered('n2', undefined);
    assert.deepEqual(await Promise.all(shown()), [0, 0, 0]);
  });
});
