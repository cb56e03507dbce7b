import { type Bench, type Part, planFleet } from '../bench.ts';
import { Fleet } from '../client/fleet.ts';
import { createHome, startCredence } from '../credence.ts';

const PATIENCE_MS = 10_000;

/** From spawning the daemon until a proxy that was waiting for it holds its certificate. */
export function coldStart(bench: Bench): Part {
  return {
    name: 'start',
    async run() {
      const again: number[] = [];
      const first: number[] = [];
      for (let run = 0; run < bench.effort.startRuns; run++) {
        await using home = await createHome();
        first.push(await spawnToSecret(bench, home));
        again.push(await spawnToSecret(bench, home));
      }
      return [
        {
          name: 'spawn to first secret',
          unit: 'ms',
          runs: again,
          bound: { goal: 150, stretch: 75 },
        },
        { name: 'spawn to first secret, first start ever', unit: 'ms', runs: first },
      ];
    },
  };
}

async function spawnToSecret(
  bench: Bench,
  home: Awaited<ReturnType<typeof createHome>>,
): Promise<number> {
  const start = performance.now();
  await using server = await startCredence(home);
  const plan = { ...planFleet(bench, server, 1), perProcess: 0 };
  await using fleet = await Fleet.create(plan);
  fleet.connect(1);
  await fleet.untilDelivered(1, PATIENCE_MS);
  return performance.now() - start;
}
