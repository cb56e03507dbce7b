import type { Random } from './random.ts';

export interface BackoffLimits {
  readonly baseMs: number;
  readonly maxMs: number;
}

/** Delay before attempt `attempt` (0 is the first retry): doubled each time, capped, jittered by half. */
export function backoffDelay(attempt: number, limits: BackoffLimits, random: Random): number {
  const ceiling = Math.min(limits.maxMs, limits.baseMs * 2 ** Math.min(attempt, 30));
  return ceiling / 2 + (random.unit() * ceiling) / 2;
}
