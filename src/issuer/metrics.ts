import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { systemClock, type Clock } from '../core/clock.ts';
import type { Issuer } from './issuer.ts';

const MINT_BUCKETS_SECONDS = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1, 5,
];

/** The issuer with its metrics in `registry`; it behaves as before. */
export function withIssuerMetrics(
  issuer: Issuer,
  registry: Registry,
  clock: Pick<Clock, 'monotonic'> = systemClock,
): Issuer {
  const registers = [registry];
  const svids = new Counter({
    name: 'credence_issuer_x509_svids_total',
    help: 'X.509-SVIDs asked of the issuer, by result',
    labelNames: ['result'],
    registers,
  });
  for (const result of ['issued', 'error']) svids.inc({ result }, 0);
  const seconds = new Histogram({
    name: 'credence_issuer_mint_seconds',
    help: 'Time from asking for an X.509-SVID to having it',
    buckets: MINT_BUCKETS_SECONDS,
    registers,
  });
  new Gauge({
    name: 'credence_issuer_ca_not_after_timestamp_seconds',
    help: 'End of each signing authority',
    labelNames: ['slot'],
    registers,
    collect() {
      this.reset();
      for (const { slot, notAfterMs } of issuer.authorities()) {
        this.set({ slot }, notAfterMs / 1000);
      }
    },
  });

  return {
    ...issuer,
    async mint(request, options) {
      const started = clock.monotonic();
      try {
        const svid = await issuer.mint(request, options);
        seconds.observe((clock.monotonic() - started) / 1000);
        svids.inc({ result: 'issued' });
        return svid;
      } catch (thrown) {
        svids.inc({ result: 'error' });
        throw thrown;
      }
    },
  };
}
