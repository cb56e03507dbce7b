import type { TrustDomain } from '../identity/spiffe-id.ts';

/** Who reads which trust domain's bundle. */
export interface BundleReaders<Reader> {
  add(trustDomain: TrustDomain, reader: Reader): void;
  remove(trustDomain: TrustDomain, reader: Reader): void;
  of(trustDomain: TrustDomain): Iterable<Reader>;
}

export function createBundleReaders<Reader>(): BundleReaders<Reader> {
  const byDomain = new Map<TrustDomain, Set<Reader>>();
  return {
    add(trustDomain, reader) {
      const readers = byDomain.get(trustDomain);
      if (readers) readers.add(reader);
      else byDomain.set(trustDomain, new Set([reader]));
    },
    remove(trustDomain, reader) {
      const readers = byDomain.get(trustDomain);
      readers?.delete(reader);
      if (readers?.size === 0) byDomain.delete(trustDomain);
    },
    of: (trustDomain) => byDomain.get(trustDomain) ?? [],
  };
}
