import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Bench, planFleet } from '../bench.ts';
import { startWorker } from '../client/worker-handle.ts';
import { containerId } from '../cluster.ts';
import { startBenchDaemon } from '../credence.ts';
import type { Figure } from '../report.ts';
import { quantile } from '../stats.ts';
import {
  allWait,
  CONTAINERS,
  known,
  makeCgroups,
  PODS,
  podsOf,
  since,
  startNode,
  WAIT_MS,
} from './pod-node.ts';

const WARM_BOUND = { goal: 300, stretch: 100 };
const AT_ONCE_BOUND = { goal: 100, stretch: 50 };
/** Between pods that are told of one by one: nobody waits for the one before. */
const APART_MS = 30;

/** One process of a known pod, again and again in a process of its own. */
export async function warm({ options }: Bench): Promise<Figure[]> {
  const [one] = podsOf(0, 1, 'node-1');
  if (!one) return [];
  await using cgroups = makeCgroups([one]);
  const program = fileURLToPath(new URL('../attest.ts', import.meta.url));
  const rounds = options.quick ? 2000 : 10_000;
  const { stdout } = await promisify(execFile)('sh', [
    ...['-c', 'echo 0 > "$1/cgroup.procs" && shift && exec "$@"', 'sh', cgroups.folders[0] ?? ''],
    ...[process.execPath, '--import', import.meta.resolve('tsx'), program],
    ...[String(rounds), one.uid, containerId(one.uid, 0)],
  ]);
  // The first ones warm the code up.
  const rows = stdout
    .trim()
    .split('\n')
    .map((row) => row.split(' ').map(Number))
    .slice(rounds / 10);
  const name = 'attesting a process of a known pod';
  return [name, `${name}, its identity by ClusterSPIFFEID as well`].flatMap((of, column) => {
    const us = rows.map((row) => row[column] ?? NaN);
    return [
      { name: `${of}, p50`, unit: 'µs', runs: [quantile(us, 0.5)], bound: WARM_BOUND },
      { name: `${of}, p99`, unit: 'µs', runs: [quantile(us, 0.99)] },
    ];
  });
}

/** When processes are attested, whatever becomes of them then. */
export async function attestedAlone(bench: Bench): Promise<Figure[]> {
  const name = `${PODS * CONTAINERS} processes at once`;
  const knownPods: number[] = [];
  const toldPods: number[] = [];
  for (let run = 0; run < bench.effort.runs; run++) {
    knownPods.push(quantile((await attest(bench, CONTAINERS, 'known')).attested, 0.99));
    toldPods.push(quantile((await attest(bench, CONTAINERS, 'at once')).attested, 0.99));
  }
  const cold = await attest(bench, 1, 'one by one');
  const one = (what: string, q: number, waited: readonly number[]) => ({
    name: `a process whose pod is not known, pod told of to ${what}, p${q * 100}`,
    ...{ unit: 'ms', runs: [quantile(waited, q)] },
  });
  return [
    // Among all that connecting so many takes: no figure of attestation.
    { name: `${name}, pods known, connect to attested, p99`, unit: 'ms', runs: knownPods },
    {
      name: `${name}, pod told of to attested, p99`,
      ...{ unit: 'ms', runs: toldPods, bound: AT_ONCE_BOUND },
    },
    ...[0.5, 0.99].map((q) => one('attested', q, cold.attested)),
    ...[0.5, 0.99].map((q) => one('first secret', q, cold.served)),
  ];
}

/**
 * Attests the processes of so many pods: from when they connect, with pods that are known; else from
 * when the API server tells of the pod that they wait for, of all pods at once or of one by one.
 */
async function attest(bench: Bench, containers: number, how: 'known' | 'at once' | 'one by one') {
  const all = podsOf(0, PODS, 'node-1', containers);
  await using cgroups = makeCgroups(all);
  await using node = await startNode(startBenchDaemon);
  await using client = startWorker();
  const count = PODS * containers;
  const plan = { ...planFleet(bench, node.server, count), cgroups: cgroups.folders };
  if (how === 'known') {
    await node.tell(all);
    await known(node.home, PODS);
  }
  await node.server.attested?.();
  const opened = client.ask({ kind: 'open', plan, timeoutMs: WAIT_MS });
  opened.catch(() => undefined);
  if (how !== 'known') await allWait(node.home, count);
  let began: number[] = [];
  for (const group of how === 'one by one' ? all.map((one) => [one]) : [all]) {
    if (how === 'known') break;
    const toldMs = await node.tell(group);
    began.push(...Array<number>(group.length * containers).fill(toldMs));
    if (how === 'one by one') await sleep(APART_MS);
  }
  const { served } = await opened;
  if (how === 'known') began = served.map((one) => one.firstNameAtMs - one.firstNameMs);
  const attested = since(began, (await node.server.attested?.()) ?? []);
  await client.ask({ kind: 'close' });
  if (attested.length !== count) throw new Error(`${attested.length} of ${count} were attested`);
  return {
    attested,
    served: since(
      began,
      served.map(({ firstNameAtMs }) => firstNameAtMs),
    ),
  };
}
