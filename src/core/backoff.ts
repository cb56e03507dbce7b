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

/**
 * Whether a retry is still to be waited for; both times wall clock. One further off than any delay
 * was set by a clock that has been turned back since.
 */
export function isPutOff(
  retryAtMs: number,
  nowMs: number,
  limits: Pick<BackoffLimits, 'maxMs'>,
): boolean {
  const leftMs = retryAtMs - nowMs;
  return leftMs > 0 && leftMs <= limits.maxMs;
}
