import { type Bench, bundleName, type Part, planFleet, SERVED_WITHIN_MS } from '../bench.ts';
import { startWorker } from '../client/worker-handle.ts';
import { cpuMs } from '../proc.ts';
import type { Server } from '../server.ts';
import { createPusher } from './pusher.ts';

/** More processes than this cost the machine more than they tell. */
const PROCESSES = 500;

/** One bundle change to `streams` streams, two on each connection. */
export function pushes(bench: Bench, server: Server, streams: number): Part {
  return {
    name: `pushes to ${streams} streams`,
    async run() {
      await using load = startWorker();
      const names = [bundleName(bench), bundleName(bench)];
      const connections = streams / 2;
      const plan = planFleet(bench, server, connections, {
        names,
        perProcess: Math.ceil(connections / PROCESSES),
      });
      await load.ask({ kind: 'open', plan, timeoutMs: SERVED_WITHIN_MS });
      const pusher = createPusher(server, load, streams);
      await pusher.push(5);

      const rounds = Math.max(Math.round((bench.effort.pushes * 1000) / streams), 3);
      const count = rounds * streams;
      const rates: number[] = [];
      const serverCost: number[] = [];
      const clientShare: number[] = [];
      for (let run = 0; run < bench.effort.runs; run++) {
        const clientBefore = await load.ask({ kind: 'counts' });
        const serverBefore = server.pid === undefined ? NaN : cpuMs(server.pid);
        const ms = await pusher.push(rounds);
        const clientAfter = await load.ask({ kind: 'counts' });
        rates.push((count / ms) * 1000);
        if (server.pid !== undefined) {
          serverCost.push(((cpuMs(server.pid) - serverBefore) * 1000) / count);
        }
        clientShare.push(((clientAfter.cpuMs - clientBefore.cpuMs) / ms) * 100);
      }
      const to = `to ${streams.toLocaleString('en-US')} streams`;
      return [
        {
          name: `acknowledged pushes ${to}`,
          unit: '/s',
          runs: rates,
          bound: { goal: 20_000, stretch: 60_000, more: true },
        },
        { name: `server CPU of a push ${to}`, unit: 'µs', runs: serverCost },
        { name: `client CPU meanwhile ${to}`, unit: '%', runs: clientShare },
      ].filter(({ runs }) => runs.length > 0);
    },
  };
}
