import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Bench, type Part, planFleet } from '../bench.ts';
import type { Served } from '../client/fleet.ts';
import { startWorker } from '../client/worker-handle.ts';
import { type BenchPod, type ClusterCommand, type ClusterEvent, containerId } from '../cluster.ts';
import { createHome, startBenchDaemon, startCredence, type Home } from '../credence.ts';
import { cpuMs, residentBytes } from '../proc.ts';
import type { Figure } from '../report.ts';
import type { Server } from '../server.ts';
import { quantile } from '../stats.ts';

/** What a node takes by default, each with a sidecar or two. */
const PODS = 110;
const CONTAINERS = 3;
const CLUSTER_PODS = 5000;
/** Between pods that start one after the other: all of them within a minute, or sooner. */
const APART_MS = { full: 500, quick: 50 };
const WAIT_MS = 120_000;

/** A hierarchy that every machine has, v2 or not. */
const ROOT = ['/sys/fs/cgroup/freezer', '/sys/fs/cgroup'].find((root) =>
  existsSync(join(root, 'cgroup.procs')),
);

/** Processes in the cgroups of pods, and an API server that tells of these. */
export function pods(bench: Bench): Part {
  return {
    name: 'pods',
    needsRoot: true,
    run: async () => [
      ...(await warm(bench)),
      ...(await starting(bench, 'at once')),
      ...(await starting(bench, 'within a minute')),
      ...(await memory()),
    ],
  };
}

const podsOf = (run: number, count: number, node: string): BenchPod[] =>
  Array.from({ length: count }, (_, n) => ({
    uid: `00000000-0000-4000-8000-${String(run).padStart(4, '0')}${String(n).padStart(8, '0')}`,
    ...{ node, containers: CONTAINERS },
  }));

/** Cgroups of the containers of pods, as the kubelet makes them. */
function makeCgroups(all: readonly BenchPod[]): AsyncDisposable & { readonly folders: string[] } {
  const made = new Set<string>();
  const folders = all.flatMap(({ uid, containers }) =>
    Array.from({ length: containers }, (_, n) => {
      const pod = join(ROOT ?? '', 'kubepods/burstable', `pod${uid}`);
      made.add(pod);
      return join(pod, containerId(uid, n));
    }),
  );
  for (const folder of folders) mkdirSync(folder, { recursive: true });
  return {
    folders,
    async [Symbol.asyncDispose]() {
      for (const folder of [...folders, ...made]) await removeFreed(folder);
    },
  };
}

/** A cgroup is in use for a moment longer than its processes are there. */
async function removeFreed(folder: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      rmdirSync(folder);
      return;
    } catch (thrown) {
      if (tries > 50) throw thrown;
      await sleep(20);
    }
  }
}

async function warm({ options }: Bench): Promise<Figure[]> {
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
  const us = stdout
    .trim()
    .split('\n')
    .map(Number)
    .slice(rounds / 10);
  const bound = { goal: 300, stretch: 100 };
  return [
    {
      name: 'attesting a process of a known pod, p50',
      unit: 'µs',
      runs: [quantile(us, 0.5)],
      bound,
    },
    { name: 'attesting a process of a known pod, p99', unit: 'µs', runs: [quantile(us, 0.99)] },
  ];
}

/**
 * All proxies wait before their pods are known, as they do on a node. From when the API server tells
 * of a pod until each of its proxies holds its certificate.
 */
async function starting(bench: Bench, how: 'at once' | 'within a minute'): Promise<Figure[]> {
  const p50: number[] = [];
  const p99: number[] = [];
  const cpu: number[] = [];
  const runs = how === 'at once' ? bench.effort.runs : 1;
  for (let run = 0; run < runs; run++) {
    const all = podsOf(run, PODS, 'node-1');
    await using cgroups = makeCgroups(all);
    await using node = await startNode(startCredence);
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
    const waited = since(told, served);
    p50.push(quantile(waited, 0.5));
    p99.push(quantile(waited, 0.99));
    await client.ask({ kind: 'close' });
  }
  const name = `${PODS} pods of ${CONTAINERS} ${how}, pod told of to first secret`;
  return [
    { name: `${name}, p50`, unit: 'ms', runs: p50 },
    { name: `${name}, p99`, unit: 'ms', runs: p99, bound: { goal: 100, stretch: 50 } },
    { name: `${name}, server CPU of a proxy`, unit: 'ms', runs: cpu },
  ];
}

/** In the order in which they were told of: who is told of first is served first. */
function since(told: readonly number[], served: readonly Served[]): number[] {
  const at = served.map(({ firstNameAtMs }) => firstNameAtMs).sort((a, b) => a - b);
  return at.map((ms, n) => ms - (told[n] ?? NaN));
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

interface Node extends AsyncDisposable {
  readonly home: Home;
  readonly server: Server;
  /** Puts pods into the cluster; when it begins to tell, monotonic. */
  tell(pods: readonly BenchPod[]): Promise<number>;
}

/** The daemon of `node-1` and an API server. */
async function startNode(start: typeof startCredence): Promise<Node> {
  const child = fork(fileURLToPath(new URL('../cluster.ts', import.meta.url)), {
    execArgv: ['--import', import.meta.resolve('tsx')],
  });
  const event = async () => ((await once(child, 'message')) as [ClusterEvent])[0];
  const { port, caFile, tokenFile } = await event();
  const kubernetes = {
    ...{ enabled: true, node_name: 'node-1', api_server: `127.0.0.1:${port}` },
    ...{ ca_file: caFile, token_file: tokenFile },
  };
  const home = await createHome(undefined, {
    attestation: { kubernetes },
    sds: { pending_timeout: `${WAIT_MS / 1000}s` },
  });
  const server = await start(home);
  return {
    ...{ home, server },
    async tell(put) {
      child.send({ put } satisfies ClusterCommand);
      return (await event()).toldMs;
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await home[Symbol.asyncDispose]();
      child.disconnect();
      await once(child, 'exit');
    },
  };
}

const allWait = (home: Home, count: number) =>
  gauge(home, 'credence_kubernetes_waiting_processes', count);
const known = (home: Home, count: number) => gauge(home, 'credence_kubernetes_pods', count);

/** Waits until a metric of the daemon has a value. */
async function gauge({ dir }: Home, name: string, value: number): Promise<void> {
  const text = `\n${name} ${value}\n`;
  for (let tries = 0; tries < 600; tries++) {
    if ((await get(join(dir, 'admin.sock'))).includes(text)) return;
    await sleep(50);
  }
  throw new Error(`${name} never was ${value}`);
}

function get(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path: '/metrics', agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (part: string) => (body += part));
      response.once('end', () => resolve(body));
    })
      .once('error', reject)
      .end();
  });
}
