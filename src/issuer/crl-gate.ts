import { createListeners } from '../core/listeners.ts';
import type { BundleReaders } from './bundle-readers.ts';
import type { CrlKeeper } from './crl-keeper.ts';

/** The readers of the bundle, with the CRLs that the bundle still lacks. */
export interface CrlGate {
  /** As the readers themselves; while a CA has no CRL, one of them is behind whatever they say. */
  readonly readers: BundleReaders;
  /** The CRLs to look at; until then there are none to wait for. */
  watch(keeper: Pick<CrlKeeper, 'covers' | 'onChange'>): void;
}

/**
 * A CA that is prepared signs once all readers have acknowledged the bundle as it is. Its CRL comes a
 * moment later than itself, and what it signs is refused by who has CRLs and not that one: until it is
 * in the bundle, nobody has acknowledged enough.
 */
export function createCrlGate(readers: BundleReaders, onError: (thrown: unknown) => void): CrlGate {
  const changes = createListeners<undefined>(onError);
  let keeper: Pick<CrlKeeper, 'covers' | 'onChange'> | undefined;
  return {
    readers: {
      count() {
        const told = readers.count();
        if (!keeper || keeper.covers() || told.behind > 0) return told;
        return { readers: Math.max(told.readers, 1), behind: 1 };
      },
      onChange(listener) {
        const stops = [readers.onChange(listener), changes.add(listener)];
        return () => stops.forEach((stop) => stop());
      },
    },
    watch(watched) {
      keeper = watched;
      watched.onChange(() => changes.emit(undefined));
    },
  };
}
