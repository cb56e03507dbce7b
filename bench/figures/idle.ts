import { setTimeout as sleep } from 'node:timers/promises';
import { type Bench, type Part, planFleet, SERVED_WITHIN_MS } from '../bench.ts';
import { startWorker } from '../client/worker-handle.ts';
import { cpuPercent, settledBytes } from '../proc.ts';
import type { Figure } from '../report.ts';
import type { Server } from '../server.ts';

const MIB = 2 ** 20;
const STREAMS = 5000;
const PROCESSES = 500;
/** After a start or many connects V8 first collects what they left, once, some 8 s later. */
const REST_MS = 12_000;
const CPU_BOUND = { goal: 0.2, stretch: 0.1 };

/** After thousands it goes on for half a minute in small steps, and what is left is given back then. */
const LONG_REST_MS = 75_000;

/** A server that nobody has asked anything yet. */
export function idle(bench: Bench, pid: number): Part {
  return {
    name: 'idle',
    async run() {
      await sleep(REST_MS);
      const bytes = await settledBytes(pid, REST_MS);
      const cpu = await cpuPercent(pid, bench.effort.idleMs);
      return [
        {
          name: 'resident memory, idle',
          unit: 'MB',
          runs: [bytes / MIB],
          bound: { goal: 75, stretch: 60 },
        },
        { name: 'CPU idle, no streams', unit: '%', runs: [cpu], bound: CPU_BOUND },
      ];
    },
  };
}

/** A server that holds many streams on which nothing happens. */
export function idleWithStreams(bench: Bench, server: Server, pid: number): Part {
  return {
    name: 'idle with streams',
    async run() {
      await using client = startWorker();
      const connections = Math.ceil(STREAMS / bench.options.names.length);
      const perProcess = Math.ceil(connections / PROCESSES);
      const plan = planFleet(bench, server, connections, { perProcess });
      await client.ask({ kind: 'open', plan, timeoutMs: SERVED_WITHIN_MS });
      await sleep(LONG_REST_MS);
      const before = await client.ask({ kind: 'counts' });
      const cpu = await cpuPercent(pid, bench.effort.idleMs);
      const after = await client.ask({ kind: 'counts' });
      const figures: Figure[] = [
        {
          name: `CPU idle, ${STREAMS.toLocaleString('en-US')} streams`,
          unit: '%',
          runs: [cpu],
          bound: CPU_BOUND,
        },
        {
          name: 'pushes that nothing called for',
          unit: '',
          runs: [after.deliveries - before.deliveries],
        },
      ];
      return figures;
    },
  };
}
