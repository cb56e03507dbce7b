import { Registry } from 'prom-client';
import { registerBuildInfo } from './admin/build-info.ts';
import { watchAskedSockets, type Asked } from './asked-sockets.ts';
import type { Attestation } from './attestation/attestation.ts';
import { listenForPeers } from './attestation/listener.ts';
import { createAttesting, type Attesting } from './attesting.ts';
import { openAuditing, type AuditWriters } from './auditing.ts';
import { authoritiesByHand } from './authorities-by-hand.ts';
import { beginSigning, type BeginSigningDeps } from './begin-signing.ts';
import { registerManifestMetrics } from './cluster-ids/metrics.ts';
import { manifestFigures } from './cluster-status.ts';
import { createWholePolicy, type WholePolicy } from './cluster-policy.ts';
import { policySources, type Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import { giveBackAtRest } from './core/give-back.ts';
import type { LogFields, Logger } from './core/log.ts';
import { announceReady, createReadiness, type Readiness } from './core/ready.ts';
import { VERSION } from './core/version.ts';
import { lockDataFolder } from './data-lock.ts';
import type { Issuer } from './issuer/issuer.ts';
import { registerAuthorityMetrics, registerCrlMetrics } from './issuer/metrics.ts';
import { listenForOperator, type OperatorSources } from './operator.ts';
import { registerPolicyMetrics } from './policy/metrics.ts';
import { createPolicyStore, type PolicyStore } from './policy/store.ts';
import { descriptorBudget } from './descriptors.ts';
import { createExplaining } from './explaining.ts';
import type { PodExplainer } from './kubernetes/explain.ts';
import { openForeignTrust, type ForeignTrust } from './foreign-trust.ts';
import { askEngines, askSystemd } from './node-engines.ts';
import { followNodePods } from './node-pods.ts';
import { createServing, type Serving, type ServingParts } from './serving.ts';
import { createSigning, svidIssuer, type OwnBundle, type Signing } from './signing.ts';
import { openTokenOf } from './token-of.ts';
import { warmUp } from './warm-up.ts';

export interface AppDeps extends Omit<BeginSigningDeps, 'onCaSigned'>, AuditWriters {
  /** Stands in front of the bundle: the bench changes it on demand. */
  readonly decorateBundle?: (bundle: OwnBundle) => OwnBundle;
}

/** The running daemon. */
export interface App {
  readonly trustDomain: string;
  readonly policyEntries: () => number;
  /** Where the metrics are served, as bound. */
  readonly metricsPort: number | undefined;
  /**
   * Goes through attestation, signing and serving a number of times with a key that nobody trusts,
   * in the background: the code is then as fast for the first proxies as for the last.
   */
  warmUp(): Promise<void>;
  /** Stops accepting, ends all streams, waits for them within the drain deadline. */
  close(): Promise<void>;
}

/**
 * Puts the parts together and starts them. In this order: the policy is read, the folder locked, all
 * sockets bound; only when nothing else can fail any more the issuer may make its first key.
 */
export async function build(config: Config, deps: AppDeps): Promise<App> {
  const cleanup = createCleanup(deps.log);
  try {
    return await start(config, deps, cleanup);
  } catch (thrown) {
    await cleanup.run();
    throw thrown;
  }
}

async function start(config: Config, deps: AppDeps, cleanup: Cleanup): Promise<App> {
  const { clock, log } = deps;
  const registry = new Registry();
  const readiness = createReadiness();
  const starting = readiness.block('starting');
  const startedAtMs = clock.now();
  registerBuildInfo(registry, VERSION, startedAtMs);

  const policy = cleanup.closing(await openPolicy(config, deps));
  registerPolicyMetrics(registry, policy);
  if (config.issuer.keyManager !== 'memory') cleanup.add(lockDataFolder(config.dataDir));
  // Closed after all that is recorded in it.
  const auditing = openAuditing(config, registry, deps);
  if (auditing) cleanup.closing(auditing);
  const { connections, lingering, operator } = descriptorBudget();
  const { kubernetes, docker, systemd } = config.attestation;
  const pods = kubernetes && cleanup.closing(followNodePods(kubernetes, { ...deps, registry }));
  const whole = cleanup.closing(createWholePolicy(config, policy, pods, deps));
  if (whole.cluster) registerManifestMetrics(registry, manifestFigures(whole.cluster));
  const sockets = cleanup.closing(watchAskedSockets(config.attestation, deps));
  const others = [
    pods && { attestor: whole.patient(pods.attestor) },
    docker && cleanup.closing(askEngines(docker, pods !== undefined, clock, sockets.told)),
    systemd && cleanup.closing(askSystemd(systemd, clock, sockets.told)),
  ].flatMap((one) => (one ? [one.attestor] : []));
  const attesting = createAttesting(config, registry, {
    ...{ clock, log, mostLingering: lingering },
    others,
  });
  const attestation = cleanup.closing(attesting.measured());
  const signing = cleanup.closing(createSigning(log));
  const foreign = cleanup.closing(openForeign(config, whole, registry, deps));
  registerAuthorityMetrics(registry, () => signing.issuer());
  registerCrlMetrics(registry, () => signing.issuer()?.revocations().status());
  const parts = {
    ...servingParts(config, whole, signing, registry, deps),
    connections,
    foreign: foreign.bundles,
    auditing,
  };
  const serving = createServing(parts);

  // Opened first and closed last: the operator can see the start and the drain.
  const explainer = pods?.explainer;
  const core = {
    startedAtMs,
    readiness,
    policy,
    whole,
    attestation,
    signing,
    serving,
    parts,
    foreign,
  };
  const asked = () => [...(pods ? [pods.asked()] : []), ...sockets.all()];
  const shown = { ...core, pods: explainer, asked };
  const doors = cleanup.closing(
    await listenForOperator(operatorSources(shown), { config, clock, log, connections: operator }),
  );
  cleanup.add(() => serving.close());
  cleanup.closing(
    await listenForPeers({
      paths: config.socketPaths,
      admits: attesting.admits,
      attestation,
      onConnection: (socket, connection) => serving.serve(socket, connection),
      lost: (reason) => readiness.block(reason),
      clock,
      log: log.child({ component: 'listener' }),
    }),
  );

  const keys = await openTokenOf(config, deps);
  if (keys) cleanup.closing(keys);
  const signers = { signing, serving, readiness, registry };
  const issuer = await beginSigning(config, signers, {
    ...deps,
    ...(keys && { keys }),
    ...(auditing && { onCaSigned: (made) => auditing.caSigned(made) }),
  });
  starting();
  cleanup.add(giveBackAtRest(clock));
  const warming = new AbortController();
  const notReady = () => notReadyFor(readiness, signing, clock);
  announce(notReady, readyFields(config, policy, attesting), deps, warming.signal);
  return {
    trustDomain: config.trustDomain,
    policyEntries: () => policy.status().entries,
    metricsPort: doors.metricsPort,
    warmUp: () => rehearse(parts, issuer, () => attesting.rehearsed(), warming.signal),
    async close() {
      warming.abort();
      readiness.block('shutting down');
      await cleanup.run();
    },
  };
}

function announce(
  notReady: () => readonly string[],
  fields: LogFields,
  { clock, log }: AppDeps,
  signal: AbortSignal,
): void {
  announceReady(notReady, fields, { clock, log, signal }).catch((err: unknown) => {
    if (!signal.aborted) log.error({ err }, 'whether it is ready is not said any more');
  });
}

const notReadyFor = (readiness: Readiness, signing: Signing, clock: Clock) => [
  ...readiness.reasons(),
  ...signing.obstacles(clock.now()),
];

function readyFields(config: Config, policy: PolicyStore, { protection }: Attesting): LogFields {
  return {
    version: VERSION,
    trust_domain: config.trustDomain,
    path: config.socketPaths[0] ?? '',
    entries: policy.status().entries,
    detail: protection,
  };
}

async function rehearse(
  parts: ServingParts,
  issuer: Issuer,
  attest: () => Attestation,
  signal: AbortSignal,
): Promise<void> {
  const mint = await issuer.rehearsal();
  if (mint) await warmUp({ ...parts, issuer: svidIssuer(mint) }, attest, signal);
}

function openPolicy(config: Config, { clock, log }: AppDeps): Promise<PolicyStore> {
  return createPolicyStore(policySources(config), { clock, log });
}

function openForeign(
  config: Config,
  whole: WholePolicy,
  registry: Registry,
  { clock, log }: AppDeps,
): ForeignTrust {
  const manifests = {
    federated: () => whole.federated(),
    onChange: (listener: () => void) => whole.entitlements.onChange(() => listener()),
  };
  return openForeignTrust(config, manifests, { clock, log, registry });
}

function servingParts(
  config: Config,
  { entitlements }: WholePolicy,
  signing: Signing,
  registry: Registry,
  { clock, random, log, decorateBundle }: AppDeps,
): Omit<ServingParts, 'connections' | 'foreign'> {
  return {
    config,
    entitlements,
    issuer: signing.svids,
    bundle: decorateBundle?.(signing.bundle) ?? signing.bundle,
    registry,
    clock,
    random,
    log,
  };
}

/** What there is to show, from the first moment on. */
interface Shown {
  readonly startedAtMs: number;
  readonly readiness: Readiness;
  readonly policy: PolicyStore;
  readonly whole: WholePolicy;
  readonly attestation: Attestation;
  readonly pods: PodExplainer | undefined;
  readonly asked: () => readonly Asked[];
  readonly signing: Signing;
  readonly serving: Serving;
  readonly parts: ServingParts;
  readonly foreign: ForeignTrust;
}

function operatorSources({ readiness, policy, signing, serving, ...rest }: Shown): OperatorSources {
  const { config, registry, bundle, clock } = rest.parts;
  const explaining = createExplaining({
    ...{ config, clock, attestation: rest.attestation, pods: rest.pods },
    match: (selectors) => rest.whole.explain(selectors),
    openStreams: () => serving.openStreams(),
  });
  const notReady = () => notReadyFor(readiness, signing, clock);
  const { bundleReaders } = serving;
  const { trustDomain } = config;
  return {
    ...authoritiesByHand({ signing, bundleReaders, trustDomain, clock }),
    registry,
    notReady,
    bundle: (domain) =>
      domain === undefined || domain === config.trustDomain
        ? bundle.current()
        : rest.foreign.bundles.get(domain),
    status: () => ({
      version: VERSION,
      nodeName: config.nodeName,
      trustDomain: config.trustDomain,
      startedAtMs: rest.startedAtMs,
      nowMs: clock.now(),
      notReady: notReady(),
      policy: policy.status(),
      asked: rest.asked(),
      manifests: rest.whole.status(),
      authorities: signing.issuer()?.authorities() ?? [],
      bundleReaders: bundleReaders.count(),
      upstream: signing.issuer()?.upstream(),
      foreign: rest.foreign.status(),
      foreignFaults: rest.foreign.faults(),
      rotation: serving.rotation(),
      streams: serving.openStreams(),
    }),
    explain: (pid) => explaining.pid(pid),
    explainPod: (namespace, name) => explaining.pod(namespace, name),
    explainSelectors: (selectors) => explaining.selectors(selectors),
    bundleControl: rest.foreign.kept,
    revoke: async (order, options) => signing.opened().revocations().revoke(order, options),
  };
}

interface Cleanup {
  add(step: () => void | Promise<void>): void;
  closing<T extends { close(): void }>(thing: T): T;
  run(): Promise<void>;
}

/** Steps that undo what was started, in reverse order; one that fails does not stop the others. */
function createCleanup(log: Logger): Cleanup {
  const steps: (() => void | Promise<void>)[] = [];
  return {
    add: (step) => void steps.push(step),
    closing(thing) {
      steps.push(() => thing.close());
      return thing;
    },
    async run() {
      for (const step of steps.splice(0).reverse()) {
        try {
          await step();
        } catch (thrown) {
          log.error({ err: thrown }, 'shutdown step failed');
        }
      }
    },
  };
}
