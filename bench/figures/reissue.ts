import { type Bench, type Part, planFleet, SERVED_WITHIN_MS } from '../bench.ts';
import { startWorker } from '../client/worker-handle.ts';
import { cpuMs } from '../proc.ts';
import type { Server } from '../server.ts';
import { timeNewcomers } from './newcomers.ts';
import { createPusher } from './pusher.ts';

const IDENTITIES = 1000;
/** One is over before the next begins, and newcomers meet little else. */
const PERIOD_MS = 500;

/** Everything that an authority has signed is signed anew at once, and who connects meanwhile. */
export function reissue(bench: Bench, server: Server): Part {
  return {
    name: 'reissue',
    async run() {
      await using load = startWorker();
      await using client = startWorker();
      const plan = planFleet(bench, server, IDENTITIES);
      await load.ask({ kind: 'open', plan, timeoutMs: SERVED_WITHIN_MS });
      const streams = IDENTITIES * plan.names.length;
      // Of the streams of a process one is for its certificate.
      const change = { change: server.reissue, each: IDENTITIES };
      const pusher = createPusher(server, load, streams, change);
      await pusher.push(3);
      const cpu: number[] = [];
      const took: number[] = [];
      for (let run = 0; run < bench.effort.runs; run++) {
        const before = server.pid === undefined ? NaN : cpuMs(server.pid);
        took.push(await pusher.push(1));
        if (server.pid !== undefined) cpu.push(cpuMs(server.pid) - before);
      }
      const again = pusher.keepPushing(PERIOD_MS);
      const { samples, runs } = bench.effort;
      const newcomers = await timeNewcomers(client, (count) => planFleet(bench, server, count), {
        ...{ samples, runs },
      }).finally(() => again.stop());
      const what = `${IDENTITIES.toLocaleString('en-US')} identities signed anew`;
      return [
        {
          name: `${what}, server CPU`,
          unit: 'ms',
          runs: cpu,
          bound: { goal: 1000, stretch: 500 },
        },
        { name: `${what}, to the last acknowledgement`, unit: 'ms', runs: took },
        { name: 'newcomer meanwhile, p50', unit: 'ms', runs: newcomers.p50 },
        {
          name: 'newcomer meanwhile, p99',
          unit: 'ms',
          runs: newcomers.p99,
          bound: { goal: 40, stretch: 20 },
        },
      ].filter(({ runs: values }) => values.length > 0);
    },
  };
}
