// An API server with pods, in a process of its own, so that its work is not the daemon's or the bench's.
//   IPC in: ClusterCommand      IPC out: ClusterEvent, one at the start and one for each command
import { startApiServer, type Behaviour } from '../test/support/api-server.ts';
import { createCluster } from '../test/support/pod-cluster.ts';
import { pod } from '../test/support/pods.ts';
import { monotonicMs } from './client/fleet.ts';

/** A pod as the bench wants it: with so many containers, whose ids are `containerId(uid, n)`. */
export interface BenchPod {
  readonly uid: string;
  readonly node: string;
  readonly containers: number;
}

export interface ClusterCommand {
  readonly put: readonly BenchPod[];
}

export interface ClusterEvent {
  readonly port: number;
  readonly caFile: string;
  readonly tokenFile: string;
  /** Just before the first of them was told of, monotonic. */
  readonly toldMs: number;
}

/** 64 hex digits, of the nth container of a pod. */
export function containerId(uid: string, n: number): string {
  return `${uid.replaceAll('-', '')}${String(n).padStart(2, '0')}`.padEnd(64, '0');
}

if (process.send) {
  const server = await startApiServer();
  const cluster = createCluster();
  server.behave((request, response) =>
    (request.url?.startsWith('/api/v1/namespaces') ? namespaces : cluster.serve)(request, response),
  );
  const { port, caFile, tokenFile } = server;
  const answer = (toldMs: number) =>
    process.send?.({ port, caFile, tokenFile, toldMs } satisfies ClusterEvent);
  process.on('message', ({ put }: ClusterCommand) => {
    const made = put.map(podOf);
    const toldMs = monotonicMs();
    for (const one of made) cluster.put(one);
    answer(toldMs);
  });
  process.on('disconnect', () => void server[Symbol.asyncDispose]().then(() => process.exit(0)));
  answer(0);
}

/** The namespace that all of them are in; nothing becomes of it. */
function namespaces(...[{ url }, response]: Parameters<Behaviour>): void {
  response.setHeader('content-type', 'application/json');
  if (url?.includes('watch=true')) {
    response.writeHead(200).flushHeaders();
    return;
  }
  const metadata = { name: 'shop', uid: 'shop', resourceVersion: '1', labels: { team: 'shop' } };
  response.end(JSON.stringify({ metadata: { resourceVersion: '1' }, items: [{ metadata }] }));
}

/** With labels, owner and images as those of a web server have them. */
function podOf({ uid, node, containers }: BenchPod): object {
  const names = Array.from({ length: containers }, (_, n) => `c${n}`);
  const name = `web-${uid.slice(-12)}`;
  return pod({
    ...{ uid, name, nodeName: node, containers: names },
    ids: Object.fromEntries(names.map((container, n) => [container, containerId(uid, n)])),
    labels: { app: 'web', 'app.kubernetes.io/name': 'web', 'pod-template-hash': '5d9c6b7f8' },
    ownerReferences: [{ kind: 'ReplicaSet', name: 'web-5d9c6b7f8', uid }],
  });
}
