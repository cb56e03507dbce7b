import { Gauge, Histogram, type Registry } from 'prom-client';
import type { Clock } from '../core/clock.ts';
import type { Rotator } from './rotator.ts';

/** Registers rotation's metrics; gauges are read from the rotator at each scrape. */
export function registerRotationMetrics(
  registry: Registry,
  rotator: Pick<Rotator, 'stats'>,
  clock: Pick<Clock, 'now'>,
): { observeLag(ms: number): void } {
  new Gauge({
    name: 'credence_rotation_due_svids',
    help: 'SVIDs past their renewal point that have not been renewed',
    registers: [registry],
    collect() {
      this.set(rotator.stats().due);
    },
  });
  new Gauge({
    name: 'credence_rotation_held_svids',
    help: 'SVIDs kept in memory for connected processes',
    registers: [registry],
    collect() {
      this.set(rotator.stats().held);
    },
  });
  new Gauge({
    name: 'credence_svid_not_after_timestamp_seconds',
    help: 'Expiry of the SVID that runs out first; absent when no SVID is held',
    labelNames: ['quantile'],
    registers: [registry],
    collect() {
      this.reset();
      const earliest = rotator.stats().earliestNotAfterMs;
      if (earliest !== undefined) this.set({ quantile: 'min' }, earliest / 1000);
    },
  });
  new Gauge({
    name: 'credence_svid_seconds_to_expiry',
    help: 'Until the SVID that runs out first does; absent when no SVID is held',
    labelNames: ['quantile'],
    registers: [registry],
    collect() {
      this.reset();
      const earliest = rotator.stats().earliestNotAfterMs;
      if (earliest !== undefined) this.set({ quantile: 'min' }, (earliest - clock.now()) / 1000);
    },
  });
  const lag = new Histogram({
    name: 'credence_rotation_lag_seconds',
    help: 'From the renewal point of an SVID to its successor being written to a stream',
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30],
    registers: [registry],
  });
  return { observeLag: (ms) => lag.observe(Math.max(ms, 0) / 1000) };
}
