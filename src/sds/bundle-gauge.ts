import { createListeners } from '../core/listeners.ts';
import type { TrustBundle } from '../identity/bundle.ts';

/**
 * How far a stream has come with the own trust domain's bundle: the sequence that its proxy accepted,
 * `behind` when it was sent one and has accepted none or not the same everywhere, `none` when it reads
 * none.
 */
export type BundleProgress = number | 'none' | 'behind';

/** One stream among those that are counted. */
export interface BundleProgressOf {
  /** Notes where it is now; `answered` when its proxy has accepted or refused something. */
  at(progress: BundleProgress, options?: { answered: boolean }): void;
  /** It has ended. */
  leave(): void;
}

/**
 * Counts the proxies that read the own trust domain's bundle, and those that have not accepted it as
 * it is now. A proxy is a connection, however many streams of it read; it is behind when one of
 * them is. Nothing is gone through: to count costs the same with one proxy and with thousands.
 */
export interface BundleGauge {
  open(connection: string): BundleProgressOf;
  count(): { readonly readers: number; readonly behind: number };
  /** Called when a proxy has accepted or refused a bundle, or has left; returns how to stop. */
  onChange(listener: () => void): () => void;
}

interface BundleGaugeDeps {
  /** As it is now: a push of it that is not made yet counts as one that is not accepted. */
  readonly current: () => Pick<TrustBundle, 'sequence'> | undefined;
  readonly onError: (thrown: unknown) => void;
}

/** How many streams of one connection are where. */
type Streams = Tally<Exclude<BundleProgress, 'none'>>;

export function createBundleGauge({ current, onError }: BundleGaugeDeps): BundleGauge {
  const byConnection = new Map<string, Streams>();
  /** How many proxies are where. */
  const proxies: Streams = createTally();
  const changes = createListeners<undefined>(onError);

  /** Takes a stream from one place to another, and its proxy with it. */
  function move(connection: string, from: BundleProgress, to: BundleProgress): void {
    const streams = byConnection.get(connection) ?? createTally();
    const before = placeOf(streams);
    if (from !== 'none') streams.add(from, -1);
    if (to !== 'none') streams.add(to, 1);
    const after = placeOf(streams);
    if (after === 'none') byConnection.delete(connection);
    else byConnection.set(connection, streams);
    if (before === after) return;
    if (before !== 'none') proxies.add(before, -1);
    if (after !== 'none') proxies.add(after, 1);
  }

  return {
    open(connection) {
      let place: BundleProgress = 'none';
      return {
        at(progress, { answered } = { answered: false }) {
          const before = place;
          place = progress;
          if (before !== place) move(connection, before, place);
          if (before !== place || (answered && place !== 'none')) changes.emit(undefined);
        },
        leave() {
          const before = place;
          place = 'none';
          if (before === 'none') return;
          move(connection, before, 'none');
          changes.emit(undefined);
        },
      };
    },
    count() {
      const sequence = current()?.sequence;
      const readers = proxies.total;
      return { readers, behind: readers - (sequence === undefined ? 0 : proxies.of(sequence)) };
    },
    onChange: (listener) => changes.add(listener),
  };
}

/** Where a proxy is whose streams are there. */
function placeOf(streams: Streams): BundleProgress {
  const [first = 'none', ...others] = streams.places();
  return others.length > 0 ? 'behind' : first;
}

interface Tally<Place> {
  readonly total: number;
  of(place: Place): number;
  add(place: Place, more: number): void;
  /** Where there are any. */
  places(): Iterable<Place>;
}

function createTally<Place>(): Tally<Place> {
  const counts = new Map<Place, number>();
  let total = 0;
  return {
    get total() {
      return total;
    },
    of: (place) => counts.get(place) ?? 0,
    add(place, more) {
      const count = (counts.get(place) ?? 0) + more;
      if (count === 0) counts.delete(place);
      else counts.set(place, count);
      total += more;
    },
    places: () => counts.keys(),
  };
}
