import type { Clock } from './clock.ts';

export interface Rate {
  /** How much may be taken at once after a quiet time. */
  readonly burst: number;
  readonly perSecond: number;
}

/** How full a bucket was, and when by the clock that nobody can set. */
export interface Bucket {
  level: number;
  atMs: number;
}

/** Takes one from a bucket; false when it is empty. `nowMs` is the clock's `monotonic`. */
export function takeFrom(bucket: Bucket, rate: Rate, nowMs: number): boolean {
  const level = filled(bucket, rate, nowMs);
  bucket.atMs = nowMs;
  bucket.level = level < 1 ? level : level - 1;
  return level >= 1;
}

function filled(bucket: Bucket, rate: Rate, nowMs: number): number {
  return Math.min(rate.burst, bucket.level + ((nowMs - bucket.atMs) * rate.perSecond) / 1000);
}

/** One token bucket for each key. */
export interface Rates {
  /** False when the key has used up what it may take. */
  take(key: number): boolean;
  /** Whether the key could take one now. */
  has(key: number): boolean;
  /** Keys that are remembered. */
  readonly size: number;
}

/** Keys that are remembered before the full buckets are looked for. */
const SWEEP_AT = 1024;

/** A bucket that is full again is forgotten, so the memory follows those who take now. */
export function createRates(rate: Rate, clock: Pick<Clock, 'monotonic'>): Rates {
  const buckets = new Map<number, Bucket>();
  let sweepAt = SWEEP_AT;

  function sweep(nowMs: number): void {
    for (const [key, bucket] of buckets) {
      if (filled(bucket, rate, nowMs) >= rate.burst) buckets.delete(key);
    }
    sweepAt = Math.max(SWEEP_AT, buckets.size * 2);
  }

  return {
    take(key) {
      const nowMs = clock.monotonic();
      let bucket = buckets.get(key);
      if (!bucket) {
        if (buckets.size >= sweepAt) sweep(nowMs);
        bucket = { level: rate.burst, atMs: nowMs };
        buckets.set(key, bucket);
      }
      return takeFrom(bucket, rate, nowMs);
    },
    has(key) {
      const bucket = buckets.get(key);
      return !bucket || filled(bucket, rate, clock.monotonic()) >= 1;
    },
    get size() {
      return buckets.size;
    },
  };
}
