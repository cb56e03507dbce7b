import type { Clock } from '../core/clock.ts';
import { createListeners } from '../core/listeners.ts';
import type { Logger } from '../core/log.ts';
import type { TrustBundle, X509Authority } from '../identity/bundle.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';

/** Where a bundle came from; the first of those that have one for a trust domain counts. */
export const BUNDLE_SOURCES = ['set', 'folder', 'manifest'] as const;
export type BundleSourceName = (typeof BUNDLE_SOURCES)[number];

/** A foreign trust domain as operators see it; times are wall clock in milliseconds. */
export interface ForeignStatus {
  readonly trustDomain: TrustDomain;
  readonly source: BundleSourceName;
  /** Others that have a bundle of it, which does not count. */
  readonly hidden: readonly BundleSourceName[];
  readonly sequence: number;
  readonly roots: number;
  /** When the root that ends first does; undefined where there is none. */
  readonly earliestNotAfterMs: number | undefined;
}

/** The bundles of other trust domains, from wherever they come. */
export interface ForeignBundles {
  get(trustDomain: TrustDomain): TrustBundle | undefined;
  /** Returns how to stop. */
  onChange(listener: (trustDomain: TrustDomain) => void): () => void;
  /** All that a source has now, in the place of all that it had. */
  put(source: BundleSourceName, all: ReadonlyMap<TrustDomain, readonly X509Authority[]>): void;
  status(): readonly ForeignStatus[];
}

type BySource = Map<BundleSourceName, ReadonlyMap<TrustDomain, readonly X509Authority[]>>;

export function createForeignBundles(deps: {
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Logger;
}): ForeignBundles {
  const { clock, log } = deps;
  const bySource: BySource = new Map();
  const bundles = new Map<TrustDomain, TrustBundle>();
  const changes = createListeners<TrustDomain>((err) =>
    log.error({ err }, 'a reader of foreign bundles failed'),
  );
  // The clock as the first number: the next run does not count backwards (BU-05).
  let sequence = Math.floor(clock.now() / 1000);

  /** Whether another content counts now. */
  function settle(trustDomain: TrustDomain): boolean {
    const before = bundles.get(trustDomain);
    const source = sourcesOf(bySource, trustDomain)[0];
    const roots = source && bySource.get(source)?.get(trustDomain);
    if (!roots) return bundles.delete(trustDomain);
    if (before && isSame(before.x509Authorities, roots)) return false;
    bundles.set(trustDomain, { trustDomain, sequence: ++sequence, x509Authorities: roots });
    return true;
  }

  return {
    get: (trustDomain) => bundles.get(trustDomain),
    onChange: (listener) => changes.add(listener),
    put(source, all) {
      const concerned = new Set([...(bySource.get(source)?.keys() ?? []), ...all.keys()]);
      bySource.set(source, all);
      for (const trustDomain of concerned) {
        if (!settle(trustDomain)) continue;
        const { x509Authorities: roots } = bundles.get(trustDomain) ?? {};
        log.info(
          { trust_domain: trustDomain, count: roots?.length ?? 0 },
          roots ? 'another bundle of a foreign trust domain counts' : 'a foreign bundle is gone',
        );
        changes.emit(trustDomain);
      }
    },
    status: () =>
      [...bundles.values()]
        .map(({ trustDomain, sequence: number, x509Authorities: roots }) => {
          const [source = 'set', ...hidden] = sourcesOf(bySource, trustDomain);
          const ends = roots.map(({ notAfterMs }) => notAfterMs);
          const earliestNotAfterMs = ends.length === 0 ? undefined : Math.min(...ends);
          const counted = { sequence: number, roots: roots.length, earliestNotAfterMs };
          return { trustDomain, source, hidden, ...counted };
        })
        .sort((a, b) => (a.trustDomain < b.trustDomain ? -1 : 1)),
  };
}

/** Those that have a bundle of it, the one that counts first. */
function sourcesOf(bySource: BySource, trustDomain: TrustDomain): readonly BundleSourceName[] {
  return BUNDLE_SOURCES.filter((source) => bySource.get(source)?.has(trustDomain));
}

function isSame(a: readonly X509Authority[], b: readonly X509Authority[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ der }, n) => Buffer.compare(der, b[n]?.der ?? new Uint8Array()) === 0)
  );
}
