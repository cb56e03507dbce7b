import { type Bench, type Part, planFleet } from '../bench.ts';
import type { FloodKind, FloodPlan } from '../client/flood.ts';
import { startWorker } from '../client/worker-handle.ts';
import type { Figure } from '../report.ts';
import type { Server } from '../server.ts';
import { timeNewcomers } from './newcomers.ts';

/** Users of the proxies that are timed, and of whoever floods; neither needs a name here. */
export const FLOOD_USERS = { proxies: 61_001, flooder: 61_002 };
const PER_SECOND = 40;
/** A real proxy waits longer before it connects again; then the figure would be its patience. */
const RETRY_MS = 10;

/** First secret of one user's proxies while another user floods the socket. */
export function flood(
  bench: Bench,
  server: Server,
  kind: FloodKind,
  from: FloodPlan['from'],
): Part {
  const what = kind === 'connect loops' ? kind : `${kind} from ${from}`;
  return {
    name: `flood of ${what}`,
    needsRoot: true,
    async run() {
      await using client = startWorker();
      await using flooder = startWorker();
      const plan = (count: number) =>
        planFleet(bench, server, count, { uids: [FLOOD_USERS.proxies], retryMs: RETRY_MS });
      const { samples, runs } = bench.effort;
      const start = performance.now();
      await flooder.ask({
        kind: 'flood',
        plan: { path: server.path, uid: FLOOD_USERS.flooder, kind, from },
      });
      const { p50, p99, refusals } = await timeNewcomers(client, plan, {
        samples: Math.ceil(samples / 6),
        runs,
        perSecond: PER_SECOND,
      });
      const { calls, connections } = await flooder.ask({ kind: 'flood-counts' });
      const seconds = (performance.now() - start) / 1000;
      const when = `another user's flood of ${what}`;
      const figures: Figure[] = [
        { name: `first secret, ${when}, p50`, unit: 'ms', runs: p50 },
        {
          name: `first secret, ${when}, p99`,
          unit: 'ms',
          runs: p99,
          bound: { goal: 250, stretch: 100 },
        },
      ];
      if (kind !== 'connect loops') {
        return [...figures, { name: `calls of ${what}`, unit: '/s', runs: [calls / seconds] }];
      }
      return [
        ...figures,
        {
          name: 'connects of a proxy refused meanwhile',
          unit: '',
          runs: refusals,
          bound: { goal: 0, stretch: 0 },
        },
        { name: `connections of ${what}`, unit: '/s', runs: [connections / seconds] },
      ];
    },
  };
}
