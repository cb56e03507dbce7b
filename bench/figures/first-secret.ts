import { type Bench, bundleName, type Part, planFleet, SERVED_WITHIN_MS } from '../bench.ts';
import { startWorker, type Worker } from '../client/worker-handle.ts';
import type { Bound, Figure } from '../report.ts';
import type { Server } from '../server.ts';
import { timeNewcomers } from './newcomers.ts';
import { createPusher } from './pusher.ts';

/** Streams that are open while newcomers are timed. */
const LOAD_STREAMS = 1000;

/** Connect to first secret while the server has nothing else to do. */
export function firstSecretIdle(bench: Bench, server: Server): Part {
  return {
    name: 'first secret, idle',
    async run() {
      await using client = startWorker();
      return await sample(bench, server, client, 'idle', [
        { goal: 2, stretch: 1.2 },
        { goal: 10, stretch: 3 },
      ]);
    },
  };
}

/**
 * The same while one bundle change after the other goes to a thousand streams: one each `periodMs`,
 * or, with 0, the next as soon as the last stream has acknowledged, which is all the server can do.
 */
export function firstSecretUnderLoad(bench: Bench, server: Server, periodMs: number): Part {
  const when = periodMs === 0 ? 'pushing without pause' : `a push each ${periodMs} ms`;
  return {
    name: `first secret, ${when}`,
    async run() {
      await using load = startWorker();
      await using client = startWorker();
      const names = [bundleName(bench), bundleName(bench)];
      const plan = planFleet(bench, server, LOAD_STREAMS / 2, { names });
      await load.ask({ kind: 'open', plan, timeoutMs: SERVED_WITHIN_MS });
      const pusher = createPusher(server, load, LOAD_STREAMS);
      await pusher.push(3);
      const start = performance.now();
      const pushing = pusher.keepPushing(periodMs);
      const figures = await sample(bench, server, client, when, [
        { goal: 4, stretch: 1.5 },
        { goal: 40, stretch: 10 },
      ]).finally(() => pushing.stop());
      const seconds = (performance.now() - start) / 1000;
      const perSecond = ((await pushing.stop()) * LOAD_STREAMS) / seconds;
      return [
        ...figures,
        { name: `pushes acknowledged meanwhile, ${when}`, unit: '/s', runs: [perSecond] },
      ];
    },
  };
}

async function sample(
  bench: Bench,
  server: Server,
  client: Worker,
  when: string,
  [p50Bound, p99Bound]: readonly [Bound, Bound],
): Promise<Figure[]> {
  const { samples, runs } = bench.effort;
  const plan = (count: number) => planFleet(bench, server, count);
  const { p50, p99, all } = await timeNewcomers(client, plan, { samples, runs });
  return [
    { name: `connect to first secret, ${when}, p50`, unit: 'ms', runs: p50, bound: p50Bound },
    { name: `connect to first secret, ${when}, p99`, unit: 'ms', runs: p99, bound: p99Bound },
    { name: `connect to all secrets, ${when}, p50`, unit: 'ms', runs: all },
  ];
}
