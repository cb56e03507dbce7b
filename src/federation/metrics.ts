import { Gauge, type Registry } from 'prom-client';
import type { ForeignBundles } from './foreign-bundles.ts';

/** Shows in `registry` what is known of other trust domains. Their names are the operator's choice. */
export function registerForeignMetrics(
  registry: Registry,
  bundles: Pick<ForeignBundles, 'status'>,
): void {
  new Gauge({
    name: 'credence_federation_bundles',
    help: 'Other trust domains whose bundle is known',
    registers: [registry],
    collect() {
      this.set(bundles.status().length);
    },
  });
  new Gauge({
    name: 'credence_federation_bundle_not_after_timestamp_seconds',
    help: 'End of the root that ends first, of each other trust domain',
    labelNames: ['trust_domain'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { trustDomain, earliestNotAfterMs } of bundles.status()) {
        if (earliestNotAfterMs === undefined) continue;
        this.set({ trust_domain: trustDomain }, earliestNotAfterMs / 1000);
      }
    },
  });
}
