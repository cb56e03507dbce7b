import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Registry } from 'prom-client';
import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import type { Logger } from './core/log.ts';
import type { Random } from './core/random.ts';
import type { Readiness } from './core/ready.ts';
import type { CaSigned } from './issuer/authority.ts';
import type { BundleReaders } from './issuer/bundle-readers.ts';
import { openIssuer, type Issuer } from './issuer/issuer.ts';
import { countAnswers, countReloads, countRotations } from './issuer/metrics.ts';
import type { KeyManager } from './issuer/keys.ts';
import type { UpstreamAuthority } from './issuer/upstream-authority.ts';
import type { Serving } from './serving.ts';
import type { Signing } from './signing.ts';
import { createUpstreamAuthority } from './upstream-authorities.ts';

/** Those whom the issuer asks, and who hear of it. */
export interface SigningParts {
  readonly signing: Signing;
  readonly serving: Pick<Serving, 'bundleReaders' | 'inUse' | 'reissue' | 'replace'>;
  readonly readiness: Readiness;
  readonly registry: Registry;
}

export interface BeginSigningDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Stands in front of the issuer: tests slow it down or make it fail. */
  readonly decorateIssuer?: (issuer: Issuer) => Issuer;
  /** Ends a start that waits, for an upstream that is away, say. */
  readonly signal?: AbortSignal;
  /** Told of each CA certificate that is made here, before anybody uses it; when it throws nobody will. */
  readonly onCaSigned?: (made: CaSigned) => void;
  /** Where CA keys are, if on a token. */
  readonly keys?: KeyManager | undefined;
  /** Signs the issuing CAs; absent: what the configuration says. */
  readonly upstream?: UpstreamAuthority;
}

/**
 * Opens the issuer and lets everybody who waits for it have it. Rejects as `openIssuer`, and with the
 * reason of the signal where an upstream was waited for.
 */
export async function beginSigning(
  config: Config,
  { signing, serving, readiness, registry }: SigningParts,
  deps: BeginSigningDeps,
): Promise<Issuer> {
  const { trustDomain, dataDir } = config;
  // Made before the wait: a metric that is not there yet looks like a version without it.
  const reloaded = config.issuer.upstream && countReloads(registry);
  const { bundleReaders } = serving;
  const readers = isRestart(config) ? onceSettled(bundleReaders, deps.clock) : bundleReaders;
  const upstream = deps.upstream ?? createUpstreamAuthority(config, deps);
  const isElsewhere = config.issuer.upstream !== undefined || upstream !== undefined;
  const observer = {
    rotated: countRotations(registry),
    answered: isElsewhere ? countAnswers(registry, () => signing.issuer()) : () => undefined,
  };
  const issuer = await openIssuer(
    { ...config.issuer, trustDomain, dataDir },
    {
      ...deps,
      upstream,
      readers,
      inUse: (authorityIds) => serving.inUse(authorityIds),
      observer,
      waiting: (reason) => readiness.block(reason),
    },
  );
  if (reloaded) issuer.onReload(reloaded);
  const decorated = deps.decorateIssuer?.(issuer) ?? issuer;
  decorated.onRevoked((serials) => serving.replace(serials));
  decorated.onTainted((authorityIds) => serving.reissue(authorityIds));
  signing.begin(decorated);
  return issuer;
}

/** Whether proxies may be about that know the bundle of an earlier run. */
function isRestart({ dataDir, issuer }: Config): boolean {
  return issuer.keyManager !== 'memory' && existsSync(join(dataDir, 'journal.json'));
}

/** Within this an Envoy that lost the daemon has come back: its backoff ends at 30 s. */
const RETURN_MS = 35_000;

/** After a restart nobody may be connected, which is not the same as that nobody has to be waited for. */
function onceSettled(readers: BundleReaders, clock: Clock): BundleReaders {
  let absent = 1;
  let settled: (() => void) | undefined;
  clock.after(RETURN_MS, () => {
    absent = 0;
    settled?.();
  });
  return {
    count() {
      const { readers: all, behind } = readers.count();
      return { readers: all + absent, behind: behind + absent };
    },
    onChange(listener) {
      settled = listener;
      const stop = readers.onChange(listener);
      return () => {
        settled = undefined;
        stop();
      };
    },
  };
}
