import { type Bench, type Part, planFleet, SERVED_WITHIN_MS } from '../bench.ts';
import { startWorker } from '../client/worker-handle.ts';
import { cpuMs } from '../proc.ts';
import type { Figure } from '../report.ts';
import type { Server } from '../server.ts';
import { quantile } from '../stats.ts';

const PROXIES = 1000;

/** All proxies connect in the same instant. One that is refused or not served fails the bench. */
export function herd(bench: Bench, server: Server): Part {
  return {
    name: 'herd',
    async run() {
      const total: number[] = [];
      const median: number[] = [];
      const cost: number[] = [];
      const clientShare: number[] = [];
      for (let run = 0; run < bench.effort.runs; run++) {
        await using client = startWorker();
        const before = server.pid === undefined ? NaN : cpuMs(server.pid);
        const idle = await client.ask({ kind: 'counts' });
        const plan = planFleet(bench, server, PROXIES);
        const { served, totalMs } = await client.ask({
          kind: 'open',
          plan,
          timeoutMs: SERVED_WITHIN_MS,
        });
        const busy = await client.ask({ kind: 'counts' });
        total.push(totalMs);
        median.push(
          quantile(
            served.map(({ allNamesMs }) => allNamesMs),
            0.5,
          ),
        );
        clientShare.push(((busy.cpuMs - idle.cpuMs) / totalMs) * 100);
        if (server.pid !== undefined) {
          const streams = PROXIES * plan.names.length;
          cost.push(((cpuMs(server.pid) - before) * 1000) / streams);
        }
      }
      const who = `${PROXIES.toLocaleString('en-US')} proxies at once`;
      const figures: Figure[] = [
        { name: `${who}, all served`, unit: 'ms', runs: total },
        { name: `${who}, half of them served`, unit: 'ms', runs: median },
        { name: `${who}, server CPU of a stream`, unit: 'µs', runs: cost },
        { name: `${who}, client CPU meanwhile`, unit: '%', runs: clientShare },
      ];
      return figures.filter(({ runs }) => runs.length > 0);
    },
  };
}
