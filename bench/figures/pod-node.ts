import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type BenchPod, type ClusterCommand, type ClusterEvent, containerId } from '../cluster.ts';
import { createHome, type Home, type startCredence } from '../credence.ts';
import { BY_TEMPLATE } from '../template.ts';
import type { Server } from '../server.ts';

/** What a node takes by default, each with a sidecar or two. */
export const PODS = 110;
export const CONTAINERS = 3;
export const WAIT_MS = 120_000;

/** A hierarchy that every machine has, v2 or not. */
const ROOT = ['/sys/fs/cgroup/freezer', '/sys/fs/cgroup'].find((root) =>
  existsSync(join(root, 'cgroup.procs')),
);

export const podsOf = (
  run: number,
  count: number,
  node: string,
  containers = CONTAINERS,
): BenchPod[] =>
  Array.from({ length: count }, (_, n) => ({
    uid: `00000000-0000-4000-8000-${String(run).padStart(4, '0')}${String(n).padStart(8, '0')}`,
    ...{ node, containers },
  }));

/** Cgroups of the containers of pods, as the kubelet makes them. */
export function makeCgroups(
  all: readonly BenchPod[],
): AsyncDisposable & { readonly folders: string[] } {
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

/** How long each took, in the order in which they began: who was first is first done. */
export function since(began: readonly number[], done: readonly number[]): number[] {
  const from = [...began].sort((a, b) => a - b);
  return [...done].sort((a, b) => a - b).map((ms, n) => ms - (from[n] ?? NaN));
}

export interface Node extends AsyncDisposable {
  readonly home: Home;
  readonly server: Server;
  /** Puts pods into the cluster; when it begins to tell, monotonic. */
  tell(pods: readonly BenchPod[]): Promise<number>;
}

/** What gives the processes their identities. */
export type Policy = 'entry' | 'ClusterSPIFFEID';

/** The daemon of `node-1` and an API server. */
export async function startNode(
  start: typeof startCredence,
  policy: Policy = 'entry',
): Promise<Node> {
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
  if (policy === 'ClusterSPIFFEID') await writeFile(home.policy, JSON.stringify(BY_TEMPLATE));
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

export const allWait = (home: Home, count: number) =>
  gauge(home, 'credence_kubernetes_waiting_processes', count);
export const known = (home: Home, count: number) => gauge(home, 'credence_kubernetes_pods', count);

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
