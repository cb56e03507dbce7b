import { type Bench, bundleName, type Part, planFleet, SERVED_WITHIN_MS } from '../bench.ts';
import type { Variant } from '../client/messages.ts';
import { startWorker, type Worker } from '../client/worker-handle.ts';
import { cpuMs } from '../proc.ts';
import type { Server } from '../server.ts';
import { createPusher } from './pusher.ts';

const CONNECTIONS = 500;

/** CPU of the server for a push and its acknowledgement over Delta, beside the state of the world. */
export function delta(bench: Bench, server: Server, pid: number): Part {
  return {
    name: 'delta',
    async run() {
      await using load = startWorker();
      const cost: Record<Variant, number[]> = { 'state of the world': [], delta: [] };
      const ratio: number[] = [];
      for (let run = 0; run < bench.effort.runs; run++) {
        // By turns and in either order: what else the machine does falls on both.
        const order: Variant[] = ['state of the world', 'delta'];
        const now: Record<Variant, number> = { 'state of the world': NaN, delta: NaN };
        for (const variant of run % 2 === 0 ? order : order.reverse()) {
          now[variant] = await pushCost(bench, server, pid, load, variant);
          cost[variant].push(now[variant]);
        }
        ratio.push(now.delta / now['state of the world']);
      }
      return [
        { name: 'server CPU of a push, DeltaSecrets', unit: 'µs', runs: cost.delta },
        {
          name: 'server CPU of a push, StreamSecrets',
          unit: 'µs',
          runs: cost['state of the world'],
        },
        {
          name: 'DeltaSecrets to StreamSecrets',
          unit: 'x',
          runs: ratio,
          bound: { goal: 1, stretch: 0.9 },
        },
      ];
    },
  };
}

/** Microseconds of CPU for one push. */
async function pushCost(
  bench: Bench,
  server: Server,
  pid: number,
  load: Worker,
  variant: Variant,
): Promise<number> {
  const names = [bundleName(bench), bundleName(bench)];
  const streams = CONNECTIONS * names.length;
  const plan = planFleet(bench, server, CONNECTIONS, { names, variant });
  await load.ask({ kind: 'open', plan, timeoutMs: SERVED_WITHIN_MS });
  const pusher = createPusher(server, load, streams);
  await pusher.push(5);
  await server.collectGarbage?.();
  const before = cpuMs(pid);
  await pusher.push(bench.effort.pushes);
  return ((cpuMs(pid) - before) * 1000) / (bench.effort.pushes * streams);
}
