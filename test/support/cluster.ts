import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Behaviour } from './api-server.ts';

/** Objects of a kind as an API server has them, told of to whoever watches. */
interface Collection {
  readonly objects: Map<string, object>;
  readonly watchers: Set<ServerResponse>;
  /** What it is answered with instead, as 403. */
  refusal: number | undefined;
}

/** What was written to the server. */
export interface Written {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
}

/** A cluster of a few collections, which lists and watches ask for. */
export interface FakeCluster {
  readonly behaviour: Behaviour;
  put(path: string, name: string, object: object): void;
  remove(path: string, name: string): void;
  /** Answers a collection, or `PATCH path`, with this code from now on; undefined: as it should. */
  refuse(path: string, code: number | undefined): void;
  /** Cuts all watches off, and does not answer until it is put right. */
  away(isAway: boolean): void;
  watched(path: string): boolean;
  readonly written: readonly Written[];
}

export const PODS = '/api/v1/pods';
export const NAMESPACES = '/api/v1/namespaces';
export const NODES = '/api/v1/nodes';
const GROUP = '/apis/spire.spiffe.io/v1alpha1';
export const CLUSTER_SPIFFE_IDS = `${GROUP}/clusterspiffeids`;
export const STATIC_ENTRIES = `${GROUP}/clusterstaticentries`;
export const FEDERATED = `${GROUP}/clusterfederatedtrustdomains`;

/** The path of one object, of kinds that are asked for by name. */
const NAMED =
  /\/(leases|secrets|configmaps|certificatesigningrequests|namespaces\/[^/]+\/pods)\/[^/]+$/;

export function createFakeCluster(): FakeCluster {
  const collections = new Map<string, Collection>();
  const written: Written[] = [];
  let version = 1;
  let isAway = false;

  function of(path: string): Collection {
    let known = collections.get(path);
    if (!known) {
      known = { objects: new Map(), watchers: new Set(), refusal: undefined };
      collections.set(path, known);
    }
    return known;
  }
  const history: { path: string; version: number; line: string }[] = [];
  const tell = (path: string, type: string, object: object) => {
    const line = `${JSON.stringify({ type, object })}\n`;
    history.push({ path, version, line });
    for (const watcher of of(path).watchers) watcher.write(line);
  };

  function put(path: string, name: string, object: object): void {
    const { objects } = of(path);
    const type = objects.has(name) ? 'MODIFIED' : 'ADDED';
    const { metadata } = object as { metadata: object };
    const stored = {
      ...object,
      metadata: { uid: `uid-${name}`, ...metadata, name, resourceVersion: String(++version) },
    };
    objects.set(name, stored);
    tell(path, type, stored);
  }

  function write({ method, path, body }: Written): number {
    if (method === 'POST') {
      const { name } = (body as { metadata: { name: string } }).metadata;
      if (of(path).objects.has(name)) return 409;
      put(path, name, body as object);
      return 201;
    }
    const [, collection = '', name = ''] =
      /^(.*)\/([^/]+)$/.exec(path.replace(/\/(status|approval)$/, '')) ?? [];
    const { objects, refusal } = of(collection);
    const before = objects.get(name) as { metadata: { resourceVersion: string } } | undefined;
    if (refusal !== undefined || !before) return refusal ?? 404;
    if (method === 'PATCH') {
      put(collection, name, { ...before, ...(body as object) });
      return 200;
    }
    const { resourceVersion } = (body as typeof before).metadata;
    if (resourceVersion !== before.metadata.resourceVersion) return 409;
    put(collection, name, body as object);
    return 200;
  }

  function take(request: IncomingMessage, response: ServerResponse, path: string): void {
    let text = '';
    request.setEncoding('utf8').on('data', (part: string) => (text += part));
    request.once('end', () => {
      const one = { method: request.method ?? '', path, body: JSON.parse(text) as unknown };
      const code = of(`${one.method} ${path}`).refusal ?? write(one);
      if (code < 300) written.push(one);
      response.writeHead(code).end('{"message":"so it is"}');
    });
  }

  /** One of a collection that names are asked for in, as leases are. */
  function single(path: string): object | undefined {
    const slash = path.lastIndexOf('/');
    return collections.get(path.slice(0, slash))?.objects.get(path.slice(slash + 1));
  }

  return {
    written,
    behaviour(request, response) {
      const url = new URL(request.url ?? '', 'https://api');
      if (isAway) return void response.destroy();
      if (request.method !== 'GET') return take(request, response, url.pathname);
      const { objects, watchers, refusal } = of(url.pathname);
      if (refusal !== undefined) return void response.writeHead(refusal).end('{"message":"no"}');
      if (url.searchParams.get('watch') === 'true') {
        response.writeHead(200).flushHeaders();
        watchers.add(response);
        const from = Number(url.searchParams.get('resourceVersion'));
        const missed = history.filter((one) => one.path === url.pathname && one.version > from);
        for (const { line } of missed) response.write(line);
        return void response.once('close', () => watchers.delete(response));
      }
      const one = single(url.pathname);
      if (one) return void response.writeHead(200).end(JSON.stringify(one));
      if (NAMED.test(url.pathname)) return void response.writeHead(404).end('{}');
      const at = Number(url.searchParams.get('continue') ?? 0);
      const limit = Number(url.searchParams.get('limit') ?? objects.size);
      const next = at + limit < objects.size ? { continue: String(at + limit) } : {};
      const metadata = { resourceVersion: String(version), ...next };
      const items = [...objects.values()].slice(at, at + limit);
      response.writeHead(200).end(JSON.stringify({ metadata, items }));
    },
    put,
    remove(path, name) {
      const { objects } = of(path);
      const object = objects.get(name) as { metadata: object } | undefined;
      objects.delete(name);
      if (!object) return;
      const metadata = { ...object.metadata, resourceVersion: String(++version) };
      tell(path, 'DELETED', { ...object, metadata });
    },
    refuse(path, code) {
      of(path).refusal = code;
    },
    away(next) {
      isAway = next;
      if (!next) return;
      for (const { watchers } of collections.values()) {
        for (const watcher of watchers) watcher.destroy();
      }
    },
    watched: (path) => of(path).watchers.size > 0,
  };
}
