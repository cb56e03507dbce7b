import { SERVED_WITHIN_MS } from '../bench.ts';
import type { FleetPlan } from '../client/fleet.ts';
import type { Worker } from '../client/worker-handle.ts';
import { quantile } from '../stats.ts';

const PER_SECOND = 20;
const WARM_UP = 20;

/** What proxies waited that connected one after another, one value for each run; milliseconds. */
export interface Newcomers {
  /** From connect() to the first name. */
  readonly p50: number[];
  readonly p99: number[];
  /** To the last name, the middle one. */
  readonly all: number[];
  /** Connects that a full backlog refused, for each proxy. */
  readonly refusals: number[];
}

/** Lets `samples` new proxies connect in each run, `perSecond`. */
export async function timeNewcomers(
  client: Worker,
  plan: (count: number) => FleetPlan,
  options: { samples: number; runs: number; perSecond?: number },
): Promise<Newcomers> {
  const { samples, runs, perSecond = PER_SECOND } = options;
  const timeoutMs = SERVED_WITHIN_MS;
  const one = (count: number) =>
    client.ask({ kind: 'sample', plan: plan(count), perSecond, timeoutMs });
  const result: Newcomers = { p50: [], p99: [], all: [], refusals: [] };
  // What a first connect has to load, client and server alike, is measured by the start figures.
  await one(WARM_UP);
  for (let run = 0; run < runs; run++) {
    const { served, refusals } = await one(samples);
    result.refusals.push(refusals / samples);
    const first = served.map(({ firstNameMs }) => firstNameMs);
    result.p50.push(quantile(first, 0.5));
    result.p99.push(quantile(first, 0.99));
    result.all.push(
      quantile(
        served.map(({ allNamesMs }) => allNamesMs),
        0.5,
      ),
    );
  }
  return result;
}
