import { isPutOff } from '../core/backoff.ts';

/** When to renew, as shares of a certificate's life. */
export interface RenewalPolicy {
  /** Share of the life after which an SVID is renewed; between 0 and 1. */
  readonly fraction: number;
  /** ± share of that point; between 0 and 1. */
  readonly jitter: number;
}

/** The life of one certificate, wall clock in milliseconds. */
export interface Lifetime {
  readonly issuedAtMs: number;
  readonly notAfterMs: number;
}

/**
 * The moment to renew a certificate. `unit` is uniform in [0, 1) and drawn once per certificate:
 * drawing again at each look bunches renewals at the early edge.
 */
export function renewalTime(life: Lifetime, policy: RenewalPolicy, unit: number): number {
  const length = Math.max(life.notAfterMs - life.issuedAtMs, 0);
  const share = policy.fraction * (1 + policy.jitter * (2 * unit - 1));
  const afterMs = length * Math.min(Math.max(share, 0), 1);
  // While a CA that cannot be renewed runs out, what it signs lives shorter and shorter.
  return Math.round(life.issuedAtMs + Math.max(afterMs, Math.min(length, MIN_RENEWAL_MS)));
}

/** No SVID is renewed sooner than this after it was made. */
const MIN_RENEWAL_MS = 100;
const RETRY_BASE_MS = 500;
const RETRY_MAX_MS = 30_000;
/** While there is nothing valid: somebody waits, but whatever fails gets no better by haste. */
const RETRY_URGENT_MS = 7500;

/**
 * Limits of the backoff after a failed renewal: never so slow that an SVID could run out between
 * two attempts which might have worked.
 */
export function retryLimits(
  nowMs: number,
  notAfterMs: number | undefined,
): { baseMs: number; maxMs: number } {
  const leftMs = notAfterMs === undefined ? 0 : notAfterMs - nowMs;
  const maxMs =
    leftMs > 0 ? Math.min(RETRY_MAX_MS, Math.max(leftMs / 4, RETRY_BASE_MS)) : RETRY_URGENT_MS;
  return { baseMs: RETRY_BASE_MS, maxMs };
}

/** From when to when a certificate is valid, wall clock in milliseconds. */
export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Whether a certificate is valid. Not yet is no better than no longer: the clock was set back. */
export function isValidAt({ notBeforeMs, notAfterMs }: Validity, nowMs: number): boolean {
  return notBeforeMs <= nowMs && nowMs < notAfterMs;
}

/** An SVID and the moment it is to be renewed. */
interface Planned {
  readonly svid: Validity;
  readonly renewAtMs: number;
}

/** When an SVID is due: at its renewal point, or at once when there is no valid one. */
export function dueTime(current: Planned | undefined, nowMs: number): number {
  return current && isValidAt(current.svid, nowMs) ? current.renewAtMs : nowMs;
}

/** When to mint next: when it is due, but after a failure not before its retry (0: none failed). */
export function nextMint(current: Planned | undefined, retryAtMs: number, nowMs: number): number {
  const dueMs = dueTime(current, nowMs);
  const putOff = isPutOff(retryAtMs, nowMs, { maxMs: RETRY_MAX_MS });
  return putOff ? Math.max(dueMs, retryAtMs) : dueMs;
}
