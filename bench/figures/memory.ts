import { setTimeout as sleep } from 'node:timers/promises';
import { type Bench, type Part, planFleet, SERVED_WITHIN_MS } from '../bench.ts';
import { startWorker } from '../client/worker-handle.ts';
import { residentBytes, settledBytes } from '../proc.ts';
import type { Server } from '../server.ts';

const CONNECTIONS = 1000;
const WARM_UP = 100;
const SETTLE_MS = 6000;

/**
 * What one more open stream costs in resident memory. A server that cannot be asked to collect its
 * garbage is measured once, while its heap is still small: what it has freed later is used again and
 * would hide the cost.
 */
export function memoryPerStream(bench: Bench, server: Server, pid: number): Part {
  return {
    name: 'memory per stream',
    async run() {
      const kilobytes: number[] = [];
      await using client = startWorker();
      const open = async (count: number): Promise<void> => {
        const plan = planFleet(bench, server, count);
        await client.ask({ kind: 'open', plan, timeoutMs: SERVED_WITHIN_MS });
      };
      // What is loaded at the first connections is the server's memory, not a stream's.
      await open(server.collectGarbage ? CONNECTIONS / 2 : WARM_UP);
      const runs = server.collectGarbage ? bench.effort.runs : 1;
      for (let run = 0; run < runs; run++) {
        await client.ask({ kind: 'close' });
        const before = await calm(server, pid);
        await open(CONNECTIONS);
        const streams = CONNECTIONS * bench.options.names.length;
        kilobytes.push(((await calm(server, pid)) - before) / 1024 / streams);
      }
      return [
        {
          name: 'memory per open stream',
          unit: 'KB',
          runs: kilobytes,
          bound: { goal: 40, stretch: 25 },
        },
      ];
    },
  };
}

/** Memory without what is only waiting to be collected. */
async function calm(server: Server, pid: number): Promise<number> {
  if (!server.collectGarbage) return settledBytes(pid, SETTLE_MS);
  await sleep(500); // closed connections are let go of
  await server.collectGarbage();
  await sleep(200);
  await server.collectGarbage();
  return residentBytes(pid);
}
