import {
  named,
  readBootstrap,
  replaceScalars,
  type Bootstrap,
  type JsonObject,
  type Place,
} from './bootstrap-file.ts';
import { startEnvoy, type Envoy } from './envoy.ts';
import type { EnvoyVersion } from './envoy-binary.ts';
import { startLoad, type Load, type LoadCount } from './load.ts';
import { freePort } from './ports.ts';

export const SERVER = 'spiffe://example.org/server';
export const CLIENT = 'spiffe://example.org/client';

/** Two Envoys that talk mTLS to each other, both live. */
export interface Pair extends AsyncDisposable {
  readonly server: Envoy;
  readonly client: Envoy;
  readonly serverPort: number;
  /** Plain HTTP; requests share mTLS connections to the server. */
  readonly sharedPort: number;
  /** Plain HTTP; every request makes an mTLS connection of its own. */
  readonly freshPort: number;
}

export interface PairOptions {
  readonly version?: EnvoyVersion;
  /** Changes the bootstraps before they are used. */
  readonly adapt?: (bootstrap: Bootstrap, side: 'server' | 'client') => void;
  /** As `EnvoyOptions.logLevels`, of both. */
  readonly logLevels?: string;
  /** Another daemon's socket, for the client. */
  readonly clientSocket?: string;
}

/** Starts server.yaml and client.yaml, the client with a second way that never reuses. */
export async function startPair(place: Place, options: PairOptions = {}): Promise<Pair> {
  const { adapt, clientSocket, ...rest } = options;
  const fresh = await freePort();
  const serverFile = await readBootstrap('server', place.replacements);
  const elsewhere = clientSocket === undefined ? [] : [['run/api.sock', clientSocket] as const];
  const clientPlace = new Map([...place.replacements, ...elsewhere]);
  const clientFile = await readBootstrap('client', clientPlace);
  adapt?.(serverFile, 'server');
  adapt?.(clientFile, 'client');
  const server = await startEnvoy({ ...rest, bootstrap: serverFile, name: 'server' });
  try {
    const client = await startEnvoy({
      ...rest,
      bootstrap: withFreshWay(clientFile, place.port('client'), fresh),
      name: 'client',
    });
    const stop = () => Promise.all([server, client].map((envoy) => envoy.stop('SIGKILL')));
    try {
      await Promise.all([server.waitLive(), client.waitLive()]);
    } catch (error) {
      await stop();
      throw error;
    }
    return {
      server,
      client,
      serverPort: place.port('server'),
      sharedPort: place.port('client'),
      freshPort: fresh,
      [Symbol.asyncDispose]: () => stop().then(() => undefined),
    };
  } catch (error) {
    await server.stop('SIGKILL');
    throw error;
  }
}

/** A copy of the client's listener and cluster that makes a connection for each request. */
function withFreshWay(bootstrap: Bootstrap, sharedPort: number, freshPort: number): Bootstrap {
  const { listeners, clusters } = bootstrap.static_resources;
  const renamed = new Map<string | number, string | number>([
    ['plain', 'plain_fresh'],
    ['server', 'server_fresh'],
    [sharedPort, freshPort],
  ]);
  const cluster = replaceScalars(named(clusters, 'server'), renamed);
  for (const options of Object.values(cluster['typed_extension_protocol_options'] as JsonObject)) {
    (options as JsonObject)['common_http_protocol_options'] = { max_requests_per_connection: 1 };
  }
  listeners.push(replaceScalars(named(listeners, 'plain'), renamed));
  clusters.push(cluster);
  return bootstrap;
}

/** Load through a pair on reused and on new connections, and what Envoy's own `/certs` shows. */
export interface WatchedLoad extends AsyncDisposable {
  /** Serials in use so far, in order of their appearance. */
  readonly serials: ReadonlyMap<string, readonly string[]>;
  /** Serials of the client that the server saw in handshakes. */
  readonly seenByServer: ReadonlySet<string>;
  /** Looks at `/certs` of both Envoys. */
  look(): Promise<void>;
  /** Says so when a look found an expired certificate in use. */
  expired(): string | undefined;
  count(): LoadCount;
  stop(): Promise<LoadCount>;
}

/** Starts sending 150 requests per second through a pair. */
export function startWatchedLoad(pair: Pair): WatchedLoad {
  const serials = new Map<string, string[]>([
    [SERVER, []],
    [CLIENT, []],
  ]);
  const seenByServer = new Set<string>();
  let expired: string | undefined;
  const loads: readonly Load[] = [
    startLoad({ port: pair.sharedPort, ratePerSecond: 75, connections: 'keep-alive' }),
    startLoad({ port: pair.sharedPort, ratePerSecond: 25, connections: 'new' }),
    startLoad({
      port: pair.freshPort,
      ratePerSecond: 50,
      connections: 'keep-alive',
      onAnswer: (headers) => seenByServer.add(String(headers['x-peer-serial'])),
    }),
  ];
  const sum = (counts: readonly LoadCount[]): LoadCount => ({
    sent: counts.reduce((total, { sent }) => total + sent, 0),
    answered: counts.reduce((total, { answered }) => total + answered, 0),
    failures: counts.flatMap(({ failures }) => failures),
  });
  const stop = async () => sum(await Promise.all(loads.map((load) => load.stop())));

  async function look(): Promise<void> {
    for (const [uri, envoy] of [
      [SERVER, pair.server],
      [CLIENT, pair.client],
    ] as const) {
      const leaf = await envoy.leaf(uri);
      if (!leaf) throw new Error(`no certificate of ${uri} is in use`);
      if (leaf.expiresMs <= Date.now()) expired = `the certificate of ${uri} has expired`;
      const known = serials.get(uri);
      if (known && !known.includes(leaf.serial)) known.push(leaf.serial);
    }
  }
  return {
    serials,
    seenByServer,
    look,
    expired: () => expired,
    count: () => sum(loads.map((load) => load.count())),
    stop,
    [Symbol.asyncDispose]: () => stop().then(() => undefined),
  };
}
