import { setMaxListeners } from 'node:events';
import type { Socket } from 'node:net';
import type { Registry } from 'prom-client';
import type { PeerConnection } from './attestation/attestation.ts';
import type { Auditing } from './auditing.ts';
import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import { IdentityError } from './core/errors.ts';
import type { Logger } from './core/log.ts';
import { createPeerLog } from './core/peer-log.ts';
import type { Random } from './core/random.ts';
import { createSchedule } from './core/schedule.ts';
import { VERSION } from './core/version.ts';
import type { BundleReaders } from './issuer/bundle-readers.ts';
import { withMintMetrics } from './issuer/metrics.ts';
import type { TrustBundle } from './identity/bundle.ts';
import type { TrustDomain } from './identity/spiffe-id.ts';
import { registerRotationMetrics } from './rotation/metrics.ts';
import type { SvidIssuer } from './rotation/minter.ts';
import { createRotator, type RotationStats } from './rotation/rotator.ts';
import { createAdmission } from './sds/admission.ts';
import { createBundleGauge, type BundleGauge } from './sds/bundle-gauge.ts';
import type { OpenStream } from './sds/calls.ts';
import {
  createSdsMetrics,
  registerBundleReaders,
  registerPushGauges,
  type SdsMetrics,
} from './sds/metrics.ts';
import { createRefusals } from './sds/refusals.ts';
import { createSecretEncoder } from './sds/resources.ts';
import type { StreamSnapshot } from './sds/secret-view.ts';
import { preflighted, preflightedBundles } from './sds/preflight.ts';
import { createSdsServer, type SdsServer } from './sds/server.ts';
import type { OwnBundle } from './signing.ts';
import { createWorkloads, type Entitlements, type Workloads } from './workload/workloads.ts';

export interface ServingParts {
  readonly config: Config;
  readonly entitlements: Entitlements;
  readonly issuer: SvidIssuer;
  readonly bundle: OwnBundle;
  /** Bundles of other trust domains. */
  readonly foreign: ForeignBundleSource;
  /** That there are descriptors for. */
  readonly connections: number;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Undefined: nothing is recorded. */
  readonly auditing?: Auditing | undefined;
}

export interface ForeignBundleSource {
  get(trustDomain: TrustDomain): TrustBundle | undefined;
  onChange(listener: (trustDomain: TrustDomain) => void): () => void;
}

/** Everything between an identified socket and the secrets that are written to it. */
export interface Serving {
  serve(socket: Socket, connection: PeerConnection): void;
  streams(): readonly StreamSnapshot[];
  /** The same streams before they are looked at. */
  openStreams(): Iterable<OpenStream>;
  rotation(): RotationStats;
  /** The proxies that read the own trust domain's bundle. */
  readonly bundleReaders: BundleReaders;
  /** How many SVIDs of these authorities are kept here, or in use by a proxy that is connected. */
  inUse(authorityIds: readonly string[]): number;
  /** Signs everything anew that these authorities have signed. */
  reissue(authorityIds: readonly string[]): void;
  /** Signs anew what has one of these serial numbers. */
  replace(serials: ReadonlySet<string>): void;
  /** Ends all streams, waits for them within the drain deadline and lets go of everything. */
  close(): Promise<void>;
}

/** Fits policy, rotation and SDS together. */
export function createServing(parts: ServingParts): Serving {
  const { config, clock, random, registry, bundle, log } = parts;
  const schedule = createSchedule(clock);
  const rotator = createRotator(config.rotation, {
    issuer: { mint: lookedAt(parts) },
    clock,
    random,
    schedule,
    log: log.child({ component: 'rotation' }),
  });
  const rotation = registerRotationMetrics(registry, rotator, clock);
  const workloads = createWorkloads({
    trustDomain: config.trustDomain,
    entitlements: parts.entitlements,
    svids: rotator,
    bundles: {
      get: preflightedBundles(
        (domain) => (domain === config.trustDomain ? bundle.current() : parts.foreign.get(domain)),
        (trust_domain, reason) => log.error({ trust_domain, reason }, 'trust bundle withheld'),
        clock,
      ),
      onChange(listener) {
        const stops = [
          bundle.onChange(() => listener(config.trustDomain)),
          parts.foreign.onChange(listener),
        ];
        return () => stops.forEach((stop) => stop());
      },
    },
    clock,
    onError: (thrown) => log.error({ err: thrown }, 'a reader failed'),
  });
  const draining = new AbortController();
  // Listened to by every call that is being attested.
  setMaxListeners(0, draining.signal);
  const metrics = createSdsMetrics(registry, (ms) => rotation.observeLag(ms));
  const bundleGauge = createBundleGauge({
    current: () => bundle.current(),
    onError: (thrown) => log.error({ err: thrown }, 'who waits for acknowledgements failed'),
  });
  registerBundleReaders(registry, () => bundleGauge.count());
  const sds = createSds(parts, { workloads, metrics, bundleGauge, closing: draining.signal });
  registerPushGauges(registry, () => sds.streams(), clock);
  return {
    serve: (socket, connection) =>
      sds.serve(socket, parts.auditing?.attested(connection) ?? connection),
    streams: () => Array.from(sds.streams(), (stream) => stream.snapshot()),
    openStreams: () => sds.streams(),
    rotation: () => rotator.stats(),
    bundleReaders: bundleGauge,
    inUse(authorityIds) {
      const meant = new Set(authorityIds);
      // One that is kept here is most often the one that its proxy uses: counted once.
      const serials = new Set(rotator.signedBy((id) => meant.has(id)));
      for (const stream of sds.streams()) {
        for (const { authorityId, serial } of stream.svids()) {
          if (meant.has(authorityId)) serials.add(serial);
        }
      }
      return serials.size;
    },
    replace: (serials) => void rotator.replace(serials),
    reissue(authorityIds) {
      const meant = new Set(authorityIds);
      const count = rotator.reissue((id) => meant.has(id));
      log.info({ component: 'rotation', count }, 'SVIDs of a tainted authority are signed anew');
    },
    async close() {
      // First: calls that are being attested end, and those that still wait for their turn.
      draining.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      await sds.drain(config.drainDeadlineMs);
      workloads.close();
      rotator.close();
      schedule.close();
    },
  };
}

/**
 * What may not leave is a failed mint: the SVID before it stays, and another is tried. Counted
 * outside of that look, so that what is withheld is no SVID issued.
 */
function lookedAt({ issuer, clock, registry, auditing }: ServingParts): SvidIssuer['mint'] {
  const mint: SvidIssuer['mint'] = (request, options) => issuer.mint(request, options);
  const signed = preflighted(auditing?.signed(mint) ?? mint, clock);
  return withMintMetrics(auditing?.failed(signed) ?? signed, registry, clock);
}

interface SdsParts {
  readonly workloads: Workloads;
  readonly metrics: SdsMetrics;
  readonly bundleGauge: BundleGauge;
  readonly closing: AbortSignal;
}

/** The server for workloads' readers, with the limits of the configuration. */
function createSds(
  { config, clock, log, connections, auditing }: ServingParts,
  parts: SdsParts,
): SdsServer {
  const { workloads, metrics, bundleGauge, closing } = parts;
  let nonces = 0;
  return createSdsServer(
    {
      controlPlane: `credence/${VERSION} node=${config.nodeName}`,
      maxMessageBytes: config.limits.messageBytes,
      streamsPerConnection: config.limits.streamsPerConnection,
    },
    {
      config: config.sds,
      attach: (caller, reader) => workloads.attach(caller, reader),
      encoder: createSecretEncoder(),
      refusals: createRefusals(),
      bundleGauge,
      namesPerStream: config.limits.namesPerStream,
      admission: createAdmission({ ...config.limits, connections }, clock, (limit) =>
        metrics.limited(limit),
      ),
      clock,
      metrics,
      onDenied: auditing && ((...denied) => auditing.denied(...denied)),
      log: createPeerLog(log.child({ component: 'sds' }), clock),
      closing,
      nextNonce: () => (++nonces).toString(36),
    },
  );
}
