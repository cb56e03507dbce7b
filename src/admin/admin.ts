import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { pipeline, Readable } from 'node:stream';
import type { Clock } from '../core/clock.ts';
import { limitConnections } from '../core/connection-limit.ts';
import { errorText, IdentityError, toIdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { MAX_PID } from '../identity/caller.ts';
import { parseSelectorList, type Selector } from '../identity/selector.ts';
import { json, text, type Answer } from './answer.ts';
import { BUNDLE_COMMANDS, runBundleCommand, type BundleControl } from './bundle-commands.ts';
import { readBody } from './request-body.ts';
import { revokeAnswer, REVOKE_PATH, type Revoke } from './revoke.ts';
import { CA_COMMANDS, runCaCommand, type CaControl } from './ca-commands.ts';

/** Whether all is well, for probes and Prometheus. */
export interface HealthView {
  /** Reasons why it is not ready; empty when it is. */
  notReady(): readonly string[];
  metrics(): Promise<string>;
}

/** What the admin socket shows; never a private key. */
export interface AdminView extends HealthView {
  /** JSON, in pieces that are each little work. */
  status(): Iterable<string>;
  config(): unknown;
  /** The bundle of a trust domain, the own one when none is named; undefined when unknown. */
  bundle(trustDomain: string | undefined): unknown;
  /** Which identities a process would get and why; undefined when there is none with this pid. */
  explain(pid: number): Promise<unknown>;
  /** What is known of a pod of this node, by `namespace/name`; throws `ERR_NOT_READY` where none can be. */
  explainPod(namespace: string, name: string): Promise<unknown>;
  /** The same of a process that had these selectors. */
  explainSelectors(selectors: readonly Selector[]): Promise<unknown>;
  /** The signing authorities and what comes next for each. */
  ca(): unknown;
  readonly caControl: CaControl;
  readonly revoke: Revoke;
  readonly bundleControl: BundleControl;
}

type Route<View> = (view: View, query: URLSearchParams) => Answer | Promise<Answer>;

const metrics: Route<HealthView> = async (view) => ({
  code: 200,
  type: 'text/plain; version=0.0.4; charset=utf-8',
  body: await view.metrics(),
});

/** RFC 1123 names, as Kubernetes has them. */
const POD_NAME = /^([a-z0-9][a-z0-9.-]{0,252})\/([a-z0-9][a-z0-9.-]{0,252})$/;

const HEALTH_ROUTES: Readonly<Record<string, Route<HealthView>>> = {
  '/live': () => text('live'),
  '/ready': (view) => {
    const reasons = view.notReady();
    return reasons.length === 0 ? text('ready') : text(`not ready: ${reasons.join(', ')}`, 503);
  },
  '/metrics': metrics,
};

/** The admin socket's answers to GET. */
const ADMIN_ROUTES: Readonly<Record<string, Route<AdminView>>> = {
  ...HEALTH_ROUTES,
  '/status': (view) => ({ code: 200, type: 'application/json', body: view.status() }),
  '/config': (view) => json(view.config()),
  '/ca': (view) => json(view.ca()),
  '/bundle': (view, query) => {
    const name = query.get('trust_domain') ?? undefined;
    const bundle = view.bundle(name);
    return bundle === undefined
      ? json({ error: `no bundle of ${name ?? 'the own trust domain'} is known` }, 404)
      : json(bundle);
  },
  '/explain': (view, query) => {
    const [pid, ...pids] = query.getAll('pid');
    const [selectors, ...more] = query.getAll('selectors');
    const [pod, ...pods] = query.getAll('pod');
    const asked = [pid, selectors, pod].filter((text) => text !== undefined).length;
    if (asked !== 1 || pids.length + more.length + pods.length > 0) {
      const expected =
        '/explain?pid=1234, or its selectors or pod, as in /explain?selectors=a,b or /explain?pod=ns/name';
      return json({ error: `one process is to be named, as in ${expected}` }, 400);
    }
    if (pod !== undefined) return ofPod(view, pod);
    return pid === undefined ? ofSelectors(view, selectors ?? '') : ofPid(view, pid);
  },
};

async function ofPid(view: AdminView, text: string): Promise<Answer> {
  if (!isPid(text)) {
    return json({ error: `pid is to be a whole number from 1 to ${MAX_PID}` }, 400);
  }
  const explanation = await view.explain(Number(text));
  return explanation === undefined
    ? json({ error: `there is no process with pid ${text}` }, 404)
    : json(explanation);
}

async function ofPod(view: AdminView, text: string): Promise<Answer> {
  const [, namespace, name] = POD_NAME.exec(text) ?? [];
  if (namespace === undefined || name === undefined) {
    return json({ error: 'pod is to be namespace/name' }, 400);
  }
  try {
    return json(await view.explainPod(namespace, name));
  } catch (thrown) {
    const { code, message } = toIdentityError(thrown);
    if (code !== 'ERR_NOT_READY') throw thrown;
    return json({ error: message }, 404);
  }
}

async function ofSelectors(view: AdminView, text: string): Promise<Answer> {
  try {
    return json(await view.explainSelectors(parseSelectorList(text)));
  } catch (thrown) {
    const { code, message } = toIdentityError(thrown);
    if (code !== 'ERR_BAD_REQUEST') throw thrown;
    return json({ error: message }, 400);
  }
}

function isPid(text: string): boolean {
  return /^[1-9]\d{0,6}$/.test(text) && Number(text) <= MAX_PID;
}

export interface AdminDeps {
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly log: Logger;
  /** At once, of this server. Scrapers and commands come one by one; who opens more is up to something. */
  readonly connections: number;
}

/** HTTP for the operator; bind it to a socket that only the operator may open. */
export function createAdminServer(view: AdminView, deps: AdminDeps): Server {
  const control = { control: view.caControl, log: deps.log };
  const command: Command = (path, query, { signal, body }) => {
    if (path === REVOKE_PATH) return revokeAnswer(view.revoke, query, signal);
    if (BUNDLE_COMMANDS.includes(path)) {
      return runBundleCommand(path, query, { control: view.bundleControl, log: deps.log, body });
    }
    return runCaCommand(path, query, { ...control, signal });
  };
  const commands = [...CA_COMMANDS, REVOKE_PATH, ...BUNDLE_COMMANDS];
  return serverOf({ pages: ADMIN_ROUTES, commands, command }, view, deps);
}

/** HTTP with nothing but `/metrics`, for Prometheus on a TCP port. */
export function createMetricsServer(view: HealthView, deps: AdminDeps): Server {
  return serverOf(onlyPages({ '/metrics': metrics }), view, deps);
}

/** The same with `/live` and `/ready`, for who has no admin socket. */
export function createHealthServer(view: HealthView, deps: AdminDeps): Server {
  return serverOf(onlyPages(HEALTH_ROUTES), view, deps);
}

/** Does what a path says, until the signal: nobody waits for it any more. */
type Command = (
  path: string,
  query: URLSearchParams,
  request: { readonly signal: AbortSignal; readonly body: () => Promise<string> },
) => Promise<Answer>;

/** The largest thing that is sent here is a bundle. */
const MAX_BODY_BYTES = 262_144;

/** What a server answers: pages to GET, commands to POST. */
interface Site<View> {
  readonly pages: Readonly<Record<string, Route<View>>>;
  readonly commands: readonly string[];
  readonly command: Command;
}

function onlyPages<View>(pages: Site<View>['pages']): Site<View> {
  const command = () => Promise.reject(new IdentityError('ERR_BUG', 'it has no commands'));
  return { pages, commands: [], command };
}

function serverOf<View>(
  site: Site<View>,
  view: View,
  { clock, log, connections }: AdminDeps,
): Server {
  const server = createServer({ connectionsCheckingInterval: 1000 }, (request, response) => {
    const signal = goneSignal(response);
    answer(site, request, view, signal).then(
      ({ code, type, body }) => {
        response.writeHead(code, {
          'content-type': type,
          'cache-control': 'no-store',
          connection: 'close',
        });
        if (request.method === 'HEAD') response.end();
        else if (typeof body === 'string') response.end(body);
        else pipeline(Readable.from(paced(body)), response, () => undefined);
      },
      (thrown: unknown) => {
        if (!signal.aborted) fail(response, thrown, log);
      },
    );
  });
  // A failed listen is for whoever asked for it; later, connections may fail to be accepted.
  server.on('error', (thrown) => {
    if (server.listening) log.error({ err: thrown }, 'cannot accept a connection');
  });
  // Whoever does not speak HTTP gets no answer and no line in the log.
  server.on('clientError', (_, socket) => socket.destroy());
  // One answer for each connection: pipelined requests would render everything again and again.
  server.maxRequestsPerSocket = 1;
  limitConnections(server, {
    most: connections,
    clock,
    onFull: (count) => log.warn({ count }, 'too many connections, the oldest were cut off'),
  });
  server.headersTimeout = 5000;
  server.requestTimeout = 10_000;
  return server;
}

/** Aborted when the client goes away before it has its answer. */
function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) {
      gone.abort(new IdentityError('ERR_PEER_GONE', 'whoever asked for it has gone'));
    }
  });
  return gone.signal;
}

/** Lets the event loop turn after each piece. */
async function* paced(pieces: Iterable<string>): AsyncGenerator<string> {
  for (const piece of pieces) {
    yield piece;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

async function answer<View>(
  { pages, commands, command }: Site<View>,
  request: IncomingMessage,
  view: View,
  signal: AbortSignal,
): Promise<Answer> {
  const { url: target = '/', method } = request;
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  const query = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1));
  if (commands.includes(path)) {
    if (method !== 'POST') return json({ error: 'only POST is allowed here' }, 405);
    return command(path, query, { signal, body: () => readBody(request, MAX_BODY_BYTES) });
  }
  const route = Object.hasOwn(pages, path) ? pages[path] : undefined;
  if (!route) {
    const all = [...Object.keys(pages), ...commands];
    return json({ error: `no such page, there are ${all.join(' ')}` }, 404);
  }
  if (method !== 'GET' && method !== 'HEAD') {
    return json({ error: 'only GET is allowed here' }, 405);
  }
  return route(view, query);
}

function fail(response: ServerResponse, thrown: unknown, log: Logger): void {
  log.error({ err: thrown }, 'admin request failed');
  response.writeHead(500, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify({ error: errorText(thrown) })}\n`);
}
