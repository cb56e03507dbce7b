import type { Server } from 'node:http';
import type { Registry } from 'prom-client';
import {
  createAdminServer,
  createMetricsServer,
  type AdminDeps,
  type AdminView,
} from './admin/admin.ts';
import type { CaControl } from './admin/ca-commands.ts';
import { caDocument, type CaSources } from './admin/ca-status.ts';
import {
  explainDocument,
  podDocument,
  type ExplainPodSources,
  matchDocument,
  type ExplainSources,
  type MatchSources,
} from './admin/explain.ts';
import { statusText, type StatusSources } from './admin/status.ts';
import type { BundleControl } from './admin/bundle-commands.ts';
import type { Revoke } from './admin/revoke.ts';
import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import { errorText, IdentityError, toIdentityError } from './core/errors.ts';
import type { Logger } from './core/log.ts';
import { keepSocket, type Binding } from './core/unix-socket-keeper.ts';
import { listenOnSocket } from './core/unix-socket.ts';
import type { TrustBundle } from './identity/bundle.ts';
import type { Selector } from './identity/selector.ts';
import { trustDomainFault, type TrustDomain } from './identity/spiffe-id.ts';

/** What the operator is shown, asked for anew each time. */
export interface OperatorSources {
  notReady(): readonly string[];
  status(): StatusSources;
  /** Of the own trust domain when none is named; undefined while there is none. */
  bundle(trustDomain: TrustDomain | undefined): TrustBundle | undefined;
  /** Rejects with `ERR_PEER_GONE` when there is no such process. */
  explain(pid: number): Promise<ExplainSources>;
  /** Rejects with `ERR_NOT_READY` when no pods are followed, or this one is not known. */
  explainPod(namespace: string, name: string): Promise<ExplainPodSources>;
  /** What the policy makes of selectors that nobody vouches for. */
  explainSelectors(selectors: readonly Selector[]): Promise<MatchSources>;
  ca(): CaSources;
  readonly caControl: CaControl;
  /** Rejects as the issuer does; with `ERR_NOT_READY` before it is open. */
  readonly revoke: Revoke;
  readonly bundleControl: BundleControl;
  readonly registry: Registry;
}

interface OperatorDeps {
  /** Of each door, at once. */
  readonly connections: number;
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The operator's doors: the admin socket, and the metrics port if there is one. */
interface OperatorDoors {
  /** Where the metrics are served, as bound. */
  readonly metricsPort: number | undefined;
  close(): void;
}

/** Opens them; throws `ERR_SOCKET` or `ERR_ALREADY_RUNNING` and leaves nothing open. */
export async function listenForOperator(
  sources: OperatorSources,
  { config, clock, log, connections }: OperatorDeps,
): Promise<OperatorDoors> {
  const view = adminView(sources, config);
  const closeAdmin = await listenOnAdminSocket(config.adminSocketPath, view, {
    ...{ clock, connections },
    log: log.child({ component: 'admin' }),
  });
  try {
    const metrics = await listenForMetrics(config, view, {
      ...{ clock, connections },
      log: log.child({ component: 'metrics' }),
    });
    return {
      metricsPort: metrics?.port,
      close() {
        if (metrics) closeServer(metrics.server);
        closeAdmin();
      },
    };
  } catch (thrown) {
    closeAdmin();
    throw thrown;
  }
}

/** Returns how to end it. */
async function listenOnAdminSocket(
  path: string,
  view: AdminView,
  deps: AdminDeps & { readonly clock: Clock },
): Promise<() => void> {
  const { clock, log } = deps;
  // Those whose file is gone may still be answering.
  const servers = new Set<Server>();
  const bind = async (): Promise<Binding> => {
    const server = createAdminServer(view, deps);
    const socket = await listenOnSocket(server, { path, mode: 0o600, folderMode: 0o700, clock });
    for (const reason of socket.doubts) log.warn({ path, reason }, 'socket folder');
    servers.add(server.once('close', () => servers.delete(server)));
    return { server, socket };
  };
  // Proxies do not need it, and whoever asks whether all is ready asks here: the log has to do.
  const lost = () => () => undefined;
  const close = keepSocket(await bind(), { path, bind, lost, clock, log });
  return () => {
    close();
    for (const server of servers) server.closeAllConnections();
  };
}

function adminView(sources: OperatorSources, config: Config): AdminView {
  // Who asks while one is being made gets the same one.
  let rendering: Promise<string> | undefined;
  return {
    notReady: () => sources.notReady(),
    metrics: () =>
      (rendering ??= sources.registry.metrics().finally(() => (rendering = undefined))),
    config: () => ({ file: config.file, ...config.written }),
    bundle: (domain) => {
      if (domain !== undefined && trustDomainFault(domain) !== undefined) return undefined;
      const bundle = sources.bundle(domain as TrustDomain | undefined);
      if (!bundle) return undefined;
      const { trustDomain, sequence, x509Authorities, crls = [] } = bundle;
      return {
        trust_domain: trustDomain,
        sequence,
        x509_authorities: x509Authorities.map(({ der }) => Buffer.from(der).toString('base64')),
        ...(crls.length > 0 && { crls: crls.map((crl) => Buffer.from(crl).toString('base64')) }),
      };
    },
    status: () => statusText(sources.status()),
    explain: (pid) =>
      sources.explain(pid).then(explainDocument, (thrown: unknown) => {
        if (toIdentityError(thrown).code !== 'ERR_PEER_GONE') throw thrown;
        return undefined;
      }),
    explainPod: (namespace, name) => sources.explainPod(namespace, name).then(podDocument),
    explainSelectors: (selectors) => sources.explainSelectors(selectors).then(matchDocument),
    ca: () => caDocument(sources.ca()),
    caControl: sources.caControl,
    revoke: (order, options) => sources.revoke(order, options),
    bundleControl: sources.bundleControl,
  };
}

async function listenForMetrics(
  config: Config,
  view: AdminView,
  deps: AdminDeps,
): Promise<{ server: Server; port: number } | undefined> {
  const address = config.telemetry.metricsAddress;
  return address && listenOn(createMetricsServer(view, deps), address);
}

/** Binds the port of the metrics; throws `ERR_SOCKET`. */
export async function listenOn(
  server: Server,
  address: { readonly host: string; readonly port: number },
): Promise<{ server: Server; port: number }> {
  await new Promise<void>((resolve, reject) => {
    const refuse = (thrown: Error) =>
      reject(
        new IdentityError(
          'ERR_SOCKET',
          `cannot serve metrics on ${address.host}:${address.port}: ${errorText(thrown)}`,
          {
            cause: thrown,
            hint: 'telemetry.metrics_address names another one; empty switches it off',
          },
        ),
      );
    server.once('error', refuse);
    server.listen(address.port, address.host, () => {
      server.off('error', refuse);
      resolve();
    });
  });
  const bound = server.address();
  return { server, port: typeof bound === 'object' && bound ? bound.port : address.port };
}

function closeServer(server: Server): void {
  server.close();
  server.closeAllConnections();
}
