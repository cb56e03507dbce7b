import { type Bench, bundleName, type Part, planFleet, SERVED_WITHIN_MS } from '../bench.ts';
import { startWorker } from '../client/worker-handle.ts';
import type { Server } from '../server.ts';
import { quantile } from '../stats.ts';
import { timeNewcomers } from './newcomers.ts';
import { createPusher } from './pusher.ts';

const CONNECTIONS = 1000;
const PERIOD_MS = 250;

/** One bundle change until all streams of a full node have acknowledged, and who connects then. */
export function bundleChange(bench: Bench, server: Server): Part {
  return {
    name: 'bundle change',
    async run() {
      await using load = startWorker();
      await using client = startWorker();
      const names = [bundleName(bench), bundleName(bench)];
      const streams = CONNECTIONS * names.length;
      const plan = planFleet(bench, server, CONNECTIONS, { names });
      await load.ask({ kind: 'open', plan, timeoutMs: SERVED_WITHIN_MS });
      const pusher = createPusher(server, load, streams);
      await pusher.push(5);
      const p50: number[] = [];
      const p99: number[] = [];
      const longest: number[] = [];
      const { runs, samples, bundleChanges } = bench.effort;
      for (let run = 0; run < runs; run++) {
        const took: number[] = [];
        for (let n = 0; n < bundleChanges; n++) took.push(await pusher.push(1));
        p50.push(quantile(took, 0.5));
        p99.push(quantile(took, 0.99));
        longest.push(Math.max(...took));
      }
      const pushing = pusher.keepPushing(PERIOD_MS);
      const newcomers = await timeNewcomers(client, (count) => planFleet(bench, server, count), {
        samples: Math.ceil(samples / 4),
        runs,
      }).finally(() => pushing.stop());
      const what = `bundle change to all ${streams.toLocaleString('en-US')} streams`;
      return [
        { name: `${what}, p50`, unit: 'ms', runs: p50 },
        { name: `${what}, p99`, unit: 'ms', runs: p99, bound: { goal: 100, stretch: 60 } },
        { name: `${what}, longest`, unit: 'ms', runs: longest },
        { name: 'newcomer during these changes, p50', unit: 'ms', runs: newcomers.p50 },
        {
          name: 'newcomer during these changes, p99',
          unit: 'ms',
          runs: newcomers.p99,
          bound: { goal: 20, stretch: 10 },
        },
      ];
    },
  };
}
