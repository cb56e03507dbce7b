import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { registerBuildInfo } from './admin/build-info.ts';
import { createAttestation } from './attestation/attestation.ts';
import { createAttestorMetrics } from './attestation/metrics.ts';
import { createExecutableReader } from './attestation/executable.ts';
import { listenForPeers } from './attestation/listener.ts';
import { createAccountNames } from './attestation/names.ts';
import { createKernel, tryLock } from './attestation/native.ts';
import { createUnixAttestor } from './attestation/unix.ts';
import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import { errorText, IdentityError } from './core/errors.ts';
import { silentLogger, type Logger } from './core/log.ts';
import type { Random } from './core/random.ts';
import { createReadiness } from './core/ready.ts';
import { VERSION } from './core/version.ts';
import type { X509Svid } from './identity/svid.ts';
import { openIssuer, type Issuer } from './issuer/issuer.ts';
import { ensurePrivateFolder } from './issuer/private-files.ts';
import { withIssuerMetrics } from './issuer/metrics.ts';
import { listenForOperator } from './operator.ts';
import { registerPolicyMetrics } from './policy/metrics.ts';
import { createPolicyStore } from './policy/store.ts';
import type { MintRequest } from './issuer/profile.ts';
import type { SvidIssuer } from './rotation/rotator.ts';
import { createPeerLog } from './sds/peer-log.ts';
import { createServing, type ServingParts } from './serving.ts';
import { warmUp } from './warm-up.ts';

export interface AppDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Stands in front of the issuer: tests and benches slow it down or make it fail. */
  readonly decorateIssuer?: (issuer: Issuer) => Issuer;
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

/** Puts the parts together and starts them; the only place that knows all of them. */
export async function build(config: Config, deps: AppDeps): Promise<App> {
  const { clock, random, log } = deps;
  const startedAtMs = clock.now();
  const cleanup = createCleanup(log);
  try {
    const registry = new Registry();
    registerBuildInfo(registry, VERSION, startedAtMs);
    const readiness = createReadiness();
    const starting = readiness.block('starting');

    const kernel = createKernel();
    if (config.issuer.keyManager === 'disk') cleanup.add(lockFolder(config.dataDir));
    const policyOpening = createPolicyStore(
      {
        paths: config.policyPaths,
        trustDomain: config.trustDomain,
        caTtlMs: config.issuer.caTtlMs,
      },
      { clock, log },
    );
    const issuerOpening = openIssuer(
      { ...config.issuer, trustDomain: config.trustDomain, dataDir: config.dataDir },
      deps,
    );
    // When one of them fails the other is still to be closed.
    const closing = <T extends { close(): void }>(thing: T) => cleanup.closing(thing);
    await Promise.allSettled([policyOpening.then(closing), issuerOpening.then(closing)]);
    const policy = await policyOpening;
    const opened = await issuerOpening;
    registerPolicyMetrics(registry, policy);
    const issuer = withIssuerMetrics(deps.decorateIssuer?.(opened) ?? opened, registry, clock);

    const { discoverPath } = config.attestation.unix;
    const attestors = [
      createUnixAttestor({
        names: createAccountNames(),
        executable: discoverPath ? createExecutableReader() : undefined,
      }),
    ];
    const measured = attestors.map(createAttestorMetrics(registry, clock));
    const attestation = cleanup.closing(
      createAttestation({
        kernel,
        attestors: measured,
        clock,
        // What it says is said about peers, as often as they want.
        log: createPeerLog(log, clock),
      }),
    );
    const parts: ServingParts = {
      config,
      entitlements: {
        match: (selectors) => policy.current().match(selectors),
        onChange: (listener) => policy.onChange(listener),
      },
      issuer: svidIssuer((request, options) => issuer.mint(request, options)),
      bundles: {
        current: () => issuer.bundle(),
        onChange: (listener) => issuer.onBundle(listener),
      },
      registry,
      clock,
      random,
      log,
    };
    const warming = new AbortController();
    const serving = createServing(parts);

    // Opened first and closed last: the operator can see the drain.
    const doors = cleanup.closing(
      await listenForOperator(
        {
          registry,
          notReady: () => readiness.reasons(),
          bundle: () => issuer.bundle(),
          status: () => ({
            version: VERSION,
            nodeName: config.nodeName,
            trustDomain: config.trustDomain,
            startedAtMs,
            notReady: readiness.reasons(),
            policy: policy.status(),
            authorities: issuer.authorities(),
            rotation: serving.rotation(),
            streams: serving.streams(),
          }),
        },
        { config, clock, log },
      ),
    );
    cleanup.add(() => serving.close());
    const listener = await listenForPeers({
      paths: config.socketPaths,
      attestation,
      onConnection: (socket, connection) => serving.serve(socket, connection),
      clock,
      log: log.child({ component: 'listener' }),
    });
    cleanup.add(() => listener.close());

    starting();
    log.info(
      {
        version: VERSION,
        trust_domain: config.trustDomain,
        path: config.socketPaths[0] ?? '',
        entries: policy.status().entries,
        detail: kernel.protection,
      },
      'credence is ready',
    );
    return {
      trustDomain: config.trustDomain,
      policyEntries: () => policy.status().entries,
      metricsPort: doors.metricsPort,
      async warmUp() {
        const mint = await opened.rehearsal();
        if (!mint) return;
        await warmUp(
          { ...parts, issuer: svidIssuer(mint) },
          () => createAttestation({ kernel, attestors, clock, log: silentLogger }),
          warming.signal,
        );
      },
      async close() {
        warming.abort();
        readiness.block('shutting down');
        await cleanup.run();
      },
    };
  } catch (thrown) {
    await cleanup.run();
    throw thrown;
  }
}

/** The issuer, as rotation asks it: an entry without a lifetime gets the issuer's default. */
function svidIssuer(
  mint: (request: MintRequest, options: { signal?: AbortSignal }) => Promise<X509Svid>,
): SvidIssuer {
  return {
    mint: ({ ttlMs, ...rest }, options) =>
      mint(ttlMs === undefined ? rest : { ...rest, ttlMs }, options),
  };
}

/** Steps that undo what was started, in reverse order; one that fails does not stop the others. */
function createCleanup(log: Logger) {
  const steps: (() => void | Promise<void>)[] = [];
  return {
    add: (step: () => void | Promise<void>) => void steps.push(step),
    closing<T extends { close(): void }>(thing: T): T {
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

/** Two daemons with one data folder would sign with one CA and write one journal. */
function lockFolder(folder: string): () => void {
  // Before anything in it is opened: in a folder of others the lock may be their link.
  ensurePrivateFolder(folder);
  const path = join(folder, 'lock');
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (thrown) {
    throw new IdentityError('ERR_DISK', `cannot open ${path}: ${errorText(thrown)}`, {
      cause: thrown,
    });
  }
  if (tryLock(fd)) return () => closeSync(fd);
  closeSync(fd);
  throw new IdentityError('ERR_ALREADY_RUNNING', `another credence is running with ${folder}`);
}
