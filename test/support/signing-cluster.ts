import { X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Behaviour } from './api-server.ts';

type Fields = Record<string, unknown>;

/** An object as an API server has it. */
export interface Stored extends Fields {
  readonly metadata: {
    readonly name: string;
    readonly resourceVersion: string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
  };
  readonly spec: Fields;
  readonly status?: Fields;
}

/** Collections that requests are made in, as an API server of 1.34 keeps them. */
export interface SigningCluster {
  readonly behaviour: Behaviour;
  /** Called for each request that is created, before its creator has the answer. */
  onCreated: (path: string, object: Stored) => void;
  put(path: string, name: string, object: object): Stored;
  /** Sets the status, as the subresource does; refuses what the API server refuses. */
  setStatus(path: string, name: string, status: object): void;
  remove(path: string, name: string): void;
  all(path: string): readonly Stored[];
  /** What was asked, as `GET path?query`. */
  readonly asked: readonly string[];
}

export const CSRS = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

export function createSigningCluster(): SigningCluster {
  const collections = new Map<string, Map<string, Stored>>();
  const watchers = new Set<{ path: string; name: string | undefined; response: ServerResponse }>();
  const history: { path: string; version: number; type: string; object: Stored }[] = [];
  const asked: string[] = [];
  let version = 1;

  const of = (path: string) => {
    const known = collections.get(path) ?? new Map<string, Stored>();
    collections.set(path, known);
    return known;
  };
  const line = (type: string, object: object) => `${JSON.stringify({ type, object })}\n`;

  function tell(path: string, type: string, object: Stored): void {
    history.push({ path, version, type, object });
    for (const watcher of watchers) {
      const { name } = object.metadata;
      if (watcher.path !== path || (watcher.name ?? name) !== name) continue;
      watcher.response.write(line(type, object));
    }
  }

  function put(path: string, name: string, object: object): Stored {
    const type = of(path).has(name) ? 'MODIFIED' : 'ADDED';
    const metadata = { ...(object as Partial<Stored>).metadata, name };
    const stored = {
      spec: {},
      ...object,
      metadata: { ...metadata, resourceVersion: String(++version) },
    };
    of(path).set(name, stored);
    tell(path, type, stored);
    return stored;
  }

  function create(path: string, body: Stored, response: ServerResponse): void {
    const { name } = body.metadata;
    const fault = faultOf(path, body);
    if (fault !== undefined) return answer(response, 422, { message: fault });
    if (of(path).has(name)) {
      return answer(response, 409, {
        message: `"${name}" already exists`,
        reason: 'AlreadyExists',
      });
    }
    const stored = put(path, name, body);
    cluster.onCreated(path, stored);
    answer(response, 201, stored);
  }

  function watch(path: string, url: URL, response: ServerResponse): void {
    const selector = url.searchParams.get('fieldSelector') ?? '';
    const name = /^metadata\.name=(.+)$/.exec(selector)?.[1];
    response.writeHead(200).flushHeaders();
    const from = url.searchParams.get('resourceVersion') ?? '';
    const fits = (object: Stored) => (name ?? object.metadata.name) === object.metadata.name;
    const missed =
      from === ''
        ? [...of(path).values()].map((object) => ({ type: 'ADDED', object }))
        : history.filter((one) => one.path === path && one.version > Number(from));
    for (const { type, object } of missed) if (fits(object)) response.write(line(type, object));
    const watcher = { path, name, response };
    watchers.add(watcher);
    response.once('close', () => watchers.delete(watcher));
  }

  function list(path: string, url: URL, response: ServerResponse): void {
    const [, key = '', value = ''] =
      /^(.+)=(.+)$/.exec(url.searchParams.get('labelSelector') ?? '') ?? [];
    const selector = url.searchParams.get('fieldSelector') ?? '';
    const name = /^metadata\.name=(.+)$/.exec(selector)?.[1];
    const items = [...of(path).values()].filter(
      ({ metadata }) =>
        (key === '' || metadata.labels?.[key] === value) &&
        (name ?? metadata.name) === metadata.name,
    );
    answer(response, 200, { metadata: { resourceVersion: String(version) }, items });
  }

  const cluster: SigningCluster = {
    asked,
    onCreated: () => undefined,
    put,
    all: (path) => [...of(path).values()],
    setStatus(path, name, status) {
      const object = of(path).get(name);
      if (!object) throw new Error(`there is no ${name}`);
      const next = { ...object, status: { ...object.status, ...status } };
      const { certificate } = next.status as { certificate?: string };
      if (certificate !== undefined && path === CSRS) {
        // As the API server: blocks of certificates that can be parsed, and nothing else.
        const blocks = Buffer.from(certificate, 'base64')
          .toString('latin1')
          .split(/(?=-----BEGIN)/);
        for (const block of blocks) new X509Certificate(block);
      }
      put(path, name, next);
    },
    remove(path, name) {
      const object = of(path).get(name);
      of(path).delete(name);
      version++;
      if (object) tell(path, 'DELETED', object);
    },
    behaviour(request: IncomingMessage, response: ServerResponse) {
      const url = new URL(request.url ?? '', 'https://api');
      asked.push(`${request.method ?? ''} ${request.url ?? ''}`);
      const { pathname } = url;
      const [, collection = '', name = ''] = /^(.*)\/([^/]+)$/.exec(pathname) ?? [];
      if (request.method === 'POST') {
        return withBody(request, (body) => create(pathname, body as Stored, response));
      }
      const one = collections.get(collection)?.get(decodeURIComponent(name));
      if (request.method === 'DELETE') {
        if (!one) return answer(response, 404, { message: `"${name}" not found` });
        cluster.remove(collection, name);
        return answer(response, 200, { status: 'Success' });
      }
      if (url.searchParams.get('watch') === 'true') return watch(pathname, url, response);
      if (one) return answer(response, 200, one);
      if (collections.has(collection)) {
        return answer(response, 404, { message: `"${name}" not found` });
      }
      list(pathname, url, response);
    },
  };
  of(CSRS);
  return cluster;
}

function answer(response: ServerResponse, code: number, body: object): void {
  response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function withBody(request: IncomingMessage, then: (body: unknown) => void): void {
  let text = '';
  request.setEncoding('utf8').on('data', (part: string) => (text += part));
  request.once('end', () => then(JSON.parse(text)));
}

/** What the API server of 1.34 refuses of a CertificateSigningRequest. */
function faultOf(path: string, { metadata, spec }: Stored): string | undefined {
  if (!/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(metadata.name))
    return 'metadata.name: Invalid';
  if (path !== CSRS) return undefined;
  const { request, signerName, usages, expirationSeconds = 3600 } = spec;
  const pem = Buffer.from(String(request), 'base64').toString('latin1');
  if (!pem.startsWith('-----BEGIN CERTIFICATE REQUEST-----\n')) return 'spec.request: Invalid';
  if (typeof signerName !== 'string' || !signerName.includes('/'))
    return 'spec.signerName: Invalid';
  if (!Array.isArray(usages) || usages.length === 0) return 'spec.usages: Required value';
  if (Number(expirationSeconds) < 600)
    return 'spec.expirationSeconds: Invalid value: may not be less';
  return undefined;
}
