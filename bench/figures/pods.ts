import { setTimeout as sleep } from 'node:timers/promises';
import { type Bench, type Part, planFleet } from '../bench.ts';
import { startWorker } from '../client/worker-handle.ts';
import { startBenchDaemon, startCredence } from '../credence.ts';
import { cpuMs, residentBytes } from '../proc.ts';
import type { Figure } from '../report.ts';
import { quantile } from '../stats.ts';
import { attestedAlone, warm } from './attesting.ts';
import {
  allWait,
  CONTAINERS,
  known,
  makeCgroups,
  type Policy,
  PODS,
  podsOf,
  since,
  startNode,
  WAIT_MS,
} from './pod-node.ts';

const CLUSTER_PODS = 5000;
/** Between pods that start one after the other; the last is told of before the daemon gives up waiting. */
const APART_MS = { full: 200, quick: 50 };

/** Processes in the cgroups of pods, and an API server that tells of these. */
export function pods(bench: Bench): Part {
  return {
    name: 'pods',
    needsRoot: true,
    run: async () => [
      ...(await warm(bench)),
      ...(await attestedAlone(bench)),
      ...(await starting(bench, 'at once')),
      ...(await starting(bench, 'at once', 'ClusterSPIFFEID')),
      ...(await starting(bench, 'within a minute')),
      ...(await memory()),
    ],
  };
}

/**
 * All proxies wait before their pods are known, as they do on a node. From when the API server tells
 * of a pod until each of its proxies holds its certificate.
 */
async function starting(
  bench: Bench,
  how: 'at once' | 'within a minute',
  policy: Policy = 'entry',
): Promise<Figure[]> {
  const p50: number[] = [];
  const p99: number[] = [];
  const cpu: number[] = [];
  const runs = how === 'at once' ? bench.effort.runs : 1;
  for (let run = 0; run < runs; run++) {
    const all = podsOf(run, PODS, 'node-1');
    await using cgroups = makeCgroups(all);
    await using node = await startNode(startCredence, policy);
    await using client = startWorker();
    const count = PODS * CONTAINERS;
    const plan = { ...planFleet(bench, node.server, count), cgroups: cgroups.folders };
    const opened = client.ask({ kind: 'open', plan, timeoutMs: WAIT_MS });
    opened.catch(() => undefined);
    await allWait(node.home, count);
    const told: number[] = [];
    const before = cpuMs(node.server.pid ?? 0);
    const groups = how === 'at once' ? [all] : all.map((one) => [one]);
    for (const group of groups) {
      const toldMs = await node.tell(group);
      for (const { containers } of group) told.push(...Array<number>(containers).fill(toldMs));
      if (how !== 'at once') await sleep(APART_MS[bench.options.quick ? 'quick' : 'full']);
    }
    const { served } = await opened;
    cpu.push((cpuMs(node.server.pid ?? 0) - before) / served.length);
    const waited = since(
      told,
      served.map(({ firstNameAtMs }) => firstNameAtMs),
    );
    p50.push(quantile(waited, 0.5));
    p99.push(quantile(waited, 0.99));
    await client.ask({ kind: 'close' });
  }
  const by = policy === 'entry' ? '' : `, by ${policy}`;
  const name = `${PODS} pods of ${CONTAINERS} ${how}${by}, pod told of to first secret`;
  return [
    { name: `${name}, p50`, unit: 'ms', runs: p50 },
    { name: `${name}, p99`, unit: 'ms', runs: p99, bound: { goal: 100, stretch: 50 } },
    { name: `${name}, server CPU of a proxy`, unit: 'ms', runs: cpu },
  ];
}

async function memory(): Promise<Figure[]> {
  await using node = await startNode(startBenchDaemon);
  const pid = node.server.pid ?? 0;
  const calm = async () => {
    for (let n = 0; n < 3; n++) {
      await node.server.collectGarbage?.();
      await sleep(300);
    }
    return residentBytes(pid) / 1024 / 1024;
  };
  const before = await calm();
  await node.tell(podsOf(1, CLUSTER_PODS - PODS, 'node-2'));
  await node.tell(podsOf(2, PODS, 'node-1'));
  await known(node.home, PODS);
  const name = `${PODS} pods of a cluster of ${CLUSTER_PODS.toLocaleString('en-US')}`;
  const after = await calm();
  return [
    { name: `${name}: memory for them`, unit: 'MB', runs: [after - before] },
    { name: `${name}: resident memory`, unit: 'MB', runs: [after] },
  ];
}
