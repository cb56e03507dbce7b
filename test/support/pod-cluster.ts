import type { ServerResponse } from 'node:http';
import type { Behaviour } from './api-server.ts';

/** A pod as `pod()` of `pods.ts` makes it, as far as it is looked into here. */
interface PodObject {
  readonly metadata: {
    readonly uid: string;
    readonly name: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly nodeName: string };
  readonly status?: { readonly phase?: string };
}

interface Event {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: PodObject;
  readonly before: PodObject | undefined;
}

/** Whether a pod is among those that somebody asked for. */
type Selects = (pod: PodObject) => boolean;

/** The pods of a cluster, told of by its API server and by the kubelet of a node alike. */
export interface Cluster {
  /** Answers `/api/v1/pods`, also with `watch`, and `/pods`. */
  readonly serve: Behaviour;
  /** Answers `/pods` as a kubelet that was restarted and has not reached the API server yet. */
  readonly serveStatic: Behaviour;
  /** Puts a pod in the place of what has its uid. */
  put(pod: object): void;
  /**
   * A static pod: the kubelet knows it by the hash of its configuration, and the API server by a
   * mirror that has another uid and names the hash.
   */
  putStatic(pod: object, hash: string): void;
  remove(uid: string): void;
  /** Watches that are open. */
  readonly watches: number;
  /** Ends them, as a server does every few minutes. */
  endWatches(): void;
}

/** @param node whose kubelet it is. */
export function createCluster(node = 'node-1'): Cluster {
  const pods = new Map<string, PodObject>();
  const statics = new Map<string, PodObject>();
  const events: Event[] = [];
  const watches = new Map<ServerResponse, Selects>();
  let version = 1;

  function tell(type: Event['type'], pod: PodObject): void {
    version++;
    const metadata = { ...pod.metadata, resourceVersion: String(version) };
    const before = pods.get(pod.metadata.uid);
    const event = { version, type, object: { ...pod, metadata }, before };
    if (type === 'DELETED') pods.delete(pod.metadata.uid);
    else pods.set(pod.metadata.uid, event.object);
    events.push(event);
    for (const [response, selects] of watches) write(response, event, selects);
  }

  const serve: Behaviour = (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://cluster');
    response.setHeader('content-type', 'application/json');
    if (pathname === '/pods') return void response.end(JSON.stringify(ofKubelet()));
    if (pathname !== '/api/v1/pods') return void response.writeHead(404).end('{}');
    const selects = readSelector(searchParams.get('fieldSelector') ?? '');
    if (searchParams.get('watch') !== 'true') {
      const items = [...pods.values()].filter(selects);
      const metadata = { resourceVersion: String(version) };
      return void response.end(JSON.stringify({ kind: 'PodList', metadata, items }));
    }
    const from = Number(searchParams.get('resourceVersion'));
    response.writeHead(200).flushHeaders();
    const missed = events.filter((one) => one.version > from);
    for (const event of missed) write(response, event, selects);
    watches.set(response, selects);
    response.once('close', () => watches.delete(response));
  };

  const serveStatic: Behaviour = (_, response) =>
    void response.end(JSON.stringify(podList([...statics.values()])));

  /** The kubelet marks where it has each pod from. */
  function ofKubelet(): object {
    const isMirror = ({ metadata }: PodObject) =>
      metadata.annotations?.['kubernetes.io/config.mirror'] !== undefined;
    const own = [...pods.values()].filter((pod) => pod.spec.nodeName === node && !isMirror(pod));
    return podList([...own.map((pod) => marked(pod, 'api')), ...statics.values()]);
  }

  return {
    ...{ serve, serveStatic },
    put(pod) {
      const object = pod as PodObject;
      tell(pods.has(object.metadata.uid) ? 'MODIFIED' : 'ADDED', object);
    },
    putStatic(pod, hash) {
      const object = pod as PodObject;
      const { annotations } = object.metadata;
      const source = { ...annotations, 'kubernetes.io/config.hash': hash };
      const bare = {
        ...object.metadata,
        uid: hash,
        annotations: source,
        resourceVersion: undefined,
      };
      statics.set(hash, marked({ ...object, metadata: bare }, 'file'));
      const mirror = { ...source, 'kubernetes.io/config.mirror': hash };
      const type = pods.has(object.metadata.uid) ? 'MODIFIED' : 'ADDED';
      tell(type, { ...object, metadata: { ...object.metadata, annotations: mirror } });
    },
    remove(uid) {
      const pod = pods.get(uid);
      if (!pod) return;
      statics.delete(pod.metadata.annotations?.['kubernetes.io/config.hash'] ?? '');
      tell('DELETED', pod);
    },
    get watches() {
      return watches.size;
    },
    endWatches() {
      for (const response of watches.keys()) response.end();
    },
  };
}

/** A kubelet's list has no version, nor have its static pods; without pods it has no items. */
function podList(items: readonly object[]): object {
  return { kind: 'PodList', metadata: {}, items: items.length === 0 ? null : items };
}

function marked(pod: PodObject, source: 'api' | 'file'): PodObject {
  const annotations = { ...pod.metadata.annotations, 'kubernetes.io/config.source': source };
  return { ...pod, metadata: { ...pod.metadata, annotations } };
}

/** As an API server reads a field selector, whose terms have all to be true. */
function readSelector(text: string): Selects {
  const terms = text.split(',').map((term) => /^([\w.]+)(!?=)(.*)$/.exec(term)?.slice(1) ?? []);
  return (pod) => {
    const fields = new Map([
      ['spec.nodeName', pod.spec.nodeName],
      ['status.phase', pod.status?.phase ?? ''],
    ]);
    return terms.every(
      ([name, operator, value]) =>
        name === undefined || (fields.get(name) === value) === (operator === '='),
    );
  };
}

/** A pod that is not among those any more is told of as deleted, and one that has become so as added. */
function write(response: ServerResponse, event: Event, selects: Selects): void {
  const { object, before } = event;
  const was = before !== undefined && selects(before);
  const is = event.type !== 'DELETED' && selects(object);
  if (!was && !is) return;
  const type = is ? (was ? 'MODIFIED' : 'ADDED') : 'DELETED';
  response.write(`${JSON.stringify({ type, object })}\n`);
}
