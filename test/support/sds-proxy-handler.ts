import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { IdentityError } from '../../src/core/errors.ts';
import type { TrustBundle } from '../../src/identity/bundle.ts';
import type { Entitlement } from '../../src/identity/entitlement.ts';
import type { SpiffeId, TrustDomain } from '../../src/identity/spiffe-id.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import type { X509Svid } from '../../src/identity/svid.ts';
import { createAdmission } from '../../src/sds/admission.ts';
import { createBundleGauge } from '../../src/sds/bundle-gauge.ts';
import type { SdsConfig } from '../../src/sds/context.ts';
import { createSdsMetrics } from '../../src/sds/metrics.ts';
import { createRefusals } from '../../src/sds/refusals.ts';
import { createSecretEncoder } from '../../src/sds/resources.ts';
import { createSdsServer } from '../../src/sds/server.ts';
import { createWorkloads } from '../../src/workload/workloads.ts';
import { FakeClock } from './fake-clock.ts';
import { entitlement, fakeBundle, fakeCaller, fakeSvid } from './identities.ts';
import { FakeLogger } from './issuer.ts';
import { connectProxy, type Proxy } from './sds-proxy.ts';

export const DOMAIN = 'spiffe://domain.test';
export const OTHER = 'spiffe://otherdomain.test';
export const WORKLOAD = `${DOMAIN}/workload`;

export interface HandlerOptions {
  readonly config?: Partial<SdsConfig>;
  readonly requestsPerSecond?: number;
  /** Of the process that asks. */
  readonly pid?: number;
}

/** SDS on a real socket for one process, with identities and bundles that a test hands out. */
export interface Handler extends AsyncDisposable {
  readonly clock: FakeClock;
  readonly log: FakeLogger;
  readonly proxy: Proxy;
  /** What the process may have, in this order. */
  grant(...identities: readonly Entitlement[]): void;
  /** There is an SVID with this serial from now on; undefined: there is none. */
  svid(id: string, serial: string | undefined): void;
  /** Another bundle of a trust domain; undefined: none is known. */
  bundle(trustDomain: string, sequence: number | undefined): void;
  /** Attestation fails from now on. */
  unattested(reason: IdentityError): void;
  endProcess(): void;
}

/** An entry that federates with the other domain. */
export const federated = (id: string) =>
  entitlement(id, { federatesWith: [parseTrustDomain('otherdomain.test')] });

export async function startHandler(options: HandlerOptions = {}): Promise<Handler> {
  const dir = await mkdtemp(join(tmpdir(), 'credence-handler-'));
  const clock = new FakeClock();
  const log = new FakeLogger();
  const caller = fakeCaller(options.pid ?? 7);
  const svids = new Map<SpiffeId, X509Svid>();
  const bundles = new Map<TrustDomain, TrustBundle>();
  const holders = new Set<{ readonly id: SpiffeId; readonly onChange: () => void }>();
  const policyReaders = new Set<() => void>();
  const bundleReaders = new Set<(domain: TrustDomain) => void>();
  let identities: readonly Entitlement[] = [];
  let unattested: IdentityError | undefined;

  const workloads = createWorkloads({
    trustDomain: parseTrustDomain('domain.test'),
    entitlements: {
      match: () => identities,
      onChange: (listener) => (policyReaders.add(listener), () => policyReaders.delete(listener)),
    },
    svids: {
      hold(_, { id }, onChange) {
        const holder = { id, onChange };
        holders.add(holder);
        return {
          current() {
            const svid = svids.get(id);
            return svid && { svid, renewAtMs: 0, dueAtMs: undefined };
          },
          failure: () => undefined,
          release: () => void holders.delete(holder),
        };
      },
      forget: () => undefined,
    },
    bundles: {
      get: (domain) => bundles.get(domain),
      onChange: (listener) => (bundleReaders.add(listener), () => bundleReaders.delete(listener)),
    },
    clock,
    onError: (thrown) => log.error({ err: thrown }, 'a reader failed'),
  });
  const limits = { connections: 1000, connectionsPerUid: 100, connectionsPerPid: 100 };
  const { requestsPerSecond = 1000 } = options;
  let nonces = 0;
  const server = createSdsServer(
    { controlPlane: 'credence', maxMessageBytes: 1_048_576, streamsPerConnection: 1000 },
    {
      config: {
        aliases: { svid: 'default', bundle: 'ROOTCA', allBundles: 'ALL' },
        spiffeCertValidation: true,
        pendingTimeoutMs: 5000,
        deniedParkMs: 0,
        ...options.config,
      },
      attach: (who, reader) => workloads.attach(who, reader),
      encoder: createSecretEncoder(),
      refusals: createRefusals(),
      bundleGauge: createBundleGauge({
        current: () => bundles.get(parseTrustDomain('domain.test')),
        onError: (thrown) => log.error({ err: thrown }, 'a listener failed'),
      }),
      namesPerStream: 2000,
      admission: createAdmission(
        { ...limits, streams: 2000, names: 10_000, requestsPerSecond },
        clock,
        () => undefined,
      ),
      clock,
      metrics: createSdsMetrics(new Registry(), () => undefined),
      log,
      closing: new AbortController().signal,
      nextNonce: () => `n${++nonces}`,
    },
  );
  let connections = 0;
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    const id = `connection-${++connections}`;
    Object.defineProperty(socket, 'remoteAddress', { value: id });
    sockets.add(socket);
    const attest = () => (unattested ? Promise.reject(unattested) : Promise.resolve(caller));
    server.serve(socket, { id, credentials: caller.credentials, caller: attest });
  }).listen(join(dir, 'sock'));
  await once(listener, 'listening');
  const proxy = connectProxy(join(dir, 'sock'));

  const handler: Handler = {
    ...{ clock, log, proxy },
    grant(...granted) {
      identities = granted;
      for (const changed of policyReaders) changed();
    },
    svid(id, serial) {
      const svid = serial === undefined ? undefined : fakeSvid(id, { serial });
      if (svid) svids.set(svid.id, svid);
      else svids.delete(fakeSvid(id).id);
      for (const holder of [...holders]) if (holder.id === id) holder.onChange();
    },
    bundle(trustDomain, sequence) {
      const domain = parseTrustDomain(trustDomain);
      if (sequence === undefined) bundles.delete(domain);
      else bundles.set(domain, fakeBundle(domain, sequence));
      for (const changed of bundleReaders) changed(domain);
    },
    unattested: (reason) => void (unattested = reason),
    endProcess: () => caller.kill(new IdentityError('ERR_PEER_GONE', 'the process has ended')),
    async [Symbol.asyncDispose]() {
      proxy.close();
      listener.close();
      await server.drain(0);
      for (const socket of sockets) socket.destroy();
      workloads.close();
      await rm(dir, { recursive: true });
    },
  };
  handler.bundle('domain.test', 1);
  handler.bundle('otherdomain.test', 1);
  handler.svid(WORKLOAD, '01');
  handler.grant(federated(WORKLOAD));
  return handler;
}
