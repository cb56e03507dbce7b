import { Gauge, Histogram, type Registry } from 'prom-client';
import type { Clock } from '../core/clock.ts';
import type { Rotator } from './rotator.ts';

/** Registers rotation's metrics; gauges are read from the rotator at each scrape. */
export function registerRotationMetrics(
  registry: Registry,
  rotator: Pick<Rotator, 'stats'>,
  clock: Pick<Clock, 'now'>,
): { observeLag(ms: number): void } {
  const registers = [registry];
  // Registered first, hence read first: one pass over the rotator serves the others too.
  const held = new Gauge({
    name: 'credence_rotation_held_svids',
    help: 'SVIDs kept in memory for connected processes',
    registers,
    collect: () => collect(),
  });
  const due = new Gauge({
    name: 'credence_rotation_due_svids',
    help: 'SVIDs past their renewal point that have not been renewed',
    registers,
  });
  const notAfter = new Gauge({
    name: 'credence_svid_not_after_timestamp_seconds',
    help: 'Expiry of the SVID that runs out first; absent when no SVID is held',
    labelNames: ['quantile'],
    registers,
  });
  const toExpiry = new Gauge({
    name: 'credence_svid_seconds_to_expiry',
    help: 'Until the SVID that runs out first does; absent when no SVID is held',
    labelNames: ['quantile'],
    registers,
  });
  function collect(): void {
    const stats = rotator.stats();
    held.set(stats.held);
    due.set(stats.due);
    notAfter.reset();
    toExpiry.reset();
    const { earliestNotAfterMs: earliest } = stats;
    if (earliest === undefined) return;
    notAfter.set({ quantile: 'min' }, earliest / 1000);
    toExpiry.set({ quantile: 'min' }, (earliest - clock.now()) / 1000);
  }
  const lag = new Histogram({
    name: 'credence_rotation_lag_seconds',
    help: 'From the renewal point of an SVID to its successor being written to a stream',
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30],
    registers,
  });
  return { observeLag: (ms) => lag.observe(Math.max(ms, 0) / 1000) };
}
