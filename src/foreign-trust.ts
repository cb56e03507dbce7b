import { join } from 'node:path';
import type { Registry } from 'prom-client';
import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import { errorText } from './core/errors.ts';
import type { Logger } from './core/log.ts';
import { followBundleFolder, type BundleFault } from './federation/bundle-folder.ts';
import {
  createForeignBundles,
  type ForeignBundles,
  type ForeignStatus,
} from './federation/foreign-bundles.ts';
import { openKeptBundles, type KeptBundles } from './federation/kept-bundles.ts';
import { registerForeignMetrics } from './federation/metrics.ts';
import { parseBundle } from './federation/parse.ts';
import type { X509Authority } from './identity/bundle.ts';
import type { TrustDomain } from './identity/spiffe-id.ts';

/** What is trusted of other trust domains, and where it comes from. */
export interface ForeignTrust {
  readonly bundles: Pick<ForeignBundles, 'get' | 'onChange'>;
  readonly kept: KeptBundles;
  status(): readonly ForeignStatus[];
  /** Files and manifests whose bundle is not used as it stands there now. */
  faults(): readonly BundleFault[];
  close(): void;
}

/** The manifests that bring a bundle along. */
interface FederatedManifests {
  federated(): readonly {
    readonly source: string;
    readonly trustDomain: TrustDomain;
    readonly trustDomainBundle: string;
  }[];
  onChange(listener: () => void): () => void;
}

/** Bundles set by hand, of the folder and of manifests. Throws `ERR_DISK` where those set cannot be read. */
export function openForeignTrust(
  { trustDomain, dataDir, bundlesDir, issuer }: Config,
  manifests: FederatedManifests,
  deps: { readonly clock: Clock; readonly log: Logger; readonly registry: Registry },
): ForeignTrust {
  const log = deps.log.child({ component: 'federation' });
  const bundles = createForeignBundles({ clock: deps.clock, log });
  registerForeignMetrics(deps.registry, bundles);
  // What lives in memory alone leaves nothing behind: neither does what is set by hand.
  const folder = issuer.keyManager === 'memory' ? undefined : join(dataDir, 'bundles');
  const kept = openKeptBundles(folder, trustDomain, bundles, log);
  const followed =
    bundlesDir === undefined
      ? undefined
      : followBundleFolder(bundlesDir, bundles, {
          ...{ ownTrustDomain: trustDomain, clock: deps.clock, log },
        });
  const inline = followManifests(manifests, bundles, log);
  return {
    ...{ bundles, kept },
    status: () => bundles.status(),
    faults: () => [...(followed?.faults() ?? []), ...inline.faults()],
    close() {
      inline.close();
      followed?.close();
    },
  };
}

/** A bundle that is no good any more leaves the last good one of its domain, as in the folder. */
function followManifests(manifests: FederatedManifests, bundles: ForeignBundles, log: Logger) {
  const good = new Map<TrustDomain, { text: string; roots: readonly X509Authority[] }>();
  let faults: readonly BundleFault[] = [];

  function look(): void {
    const all = manifests.federated().filter((one) => one.trustDomainBundle !== '');
    const wanted = new Set(all.map((one) => one.trustDomain));
    for (const domain of good.keys()) if (!wanted.has(domain)) good.delete(domain);
    const before = new Set(faults.map(({ path, reason }) => `${path}\n${reason}`));
    const found: BundleFault[] = [];
    for (const { source: path, trustDomain, trustDomainBundle: text } of all) {
      if (good.get(trustDomain)?.text === text) continue;
      try {
        good.set(trustDomain, { text, roots: parseBundle(text).roots });
      } catch (thrown) {
        const reason = `spec.trustDomainBundle: ${errorText(thrown)}`;
        found.push({ path, reason });
        if (!before.has(`${path}\n${reason}`)) log.warn({ path, reason }, 'a bundle is refused');
      }
    }
    faults = found;
    bundles.put('manifest', new Map([...good].map(([domain, { roots }]) => [domain, roots])));
  }

  look();
  return { faults: () => faults, close: manifests.onChange(look) };
}
