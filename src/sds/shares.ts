/** Something of which there is so much for all users together. */
export interface Shares {
  /** What a user has. */
  of(uid: number): number;
  /** What nobody has. */
  readonly left: number;
  /** Whether a user may take so many more. */
  fits(uid: number, more: number): boolean;
  /** Takes, or with less than 0 gives back; `fits` is the caller's to ask. */
  take(uid: number, more: number): void;
}

/** Of the whole, for users who have little. */
const RESERVE = 1 / 8;
/** Of the whole, the most that is little. */
const LITTLE = 1 / 16;

/**
 * A user may have as much as it leaves to the others beyond a reserve, and each further one has to be
 * content with less. The reserve is for those who have no more than a proxy needs.
 */
export function createShares(total: number, proxyNeeds: number): Shares {
  const byUid = createCounts();
  const reserve = Math.floor(total * RESERVE);
  const little = Math.max(Math.min(proxyNeeds, Math.floor(total * LITTLE)), 1);
  let left = total;
  return {
    of: (uid) => byUid.of(uid),
    get left() {
      return left;
    },
    fits(uid, more) {
      const rest = left - more;
      const own = byUid.of(uid) + more;
      return rest >= 0 && own <= Math.max(rest - reserve, little);
    },
    take(uid, more) {
      left -= more;
      byUid.add(uid, more);
    },
  };
}

/** A number for each key; keys without any take no memory. */
export interface Counts {
  of(key: number): number;
  add(key: number, more: number): void;
}

export function createCounts(): Counts {
  const counts = new Map<number, number>();
  const of = (key: number) => counts.get(key) ?? 0;
  return {
    of,
    add(key, more) {
      const count = of(key) + more;
      if (count > 0) counts.set(key, count);
      else counts.delete(key);
    },
  };
}
