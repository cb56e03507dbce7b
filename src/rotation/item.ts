import { backoffDelay } from '../core/backoff.ts';
import type { IdentityError } from '../core/errors.ts';
import type { Random } from '../core/random.ts';
import type { Scheduled } from '../core/schedule.ts';
import type { X509Svid } from '../identity/svid.ts';
import type { Recipient, SvidRequest } from './minter.ts';
import { isValidAt, nextMint, renewalTime, retryLimits, type RenewalPolicy } from './renewal.ts';

/** An SVID with the plan for its renewal. */
export interface HeldSvid {
  readonly svid: X509Svid;
  readonly renewAtMs: number;
  /** When this SVID was due to replace another one; undefined for the first of a holding. */
  readonly dueAtMs: number | undefined;
}

/** Whether an authority, by its subject key identifier, is one of those that somebody means. */
export type IsAuthority = (authorityId: string) => boolean;

/** One SVID of one holder through all its renewals, and who uses it. */
export interface Item {
  readonly key: string;
  readonly holder: string;
  readonly request: SvidRequest;
  readonly users: Set<() => void>;
  /** For whom it is signed, of those who hold it the one that came last. */
  recipient: Recipient | undefined;
  current: HeldSvid | undefined;
  failure: IdentityError | undefined;
  attempt: number;
  /** After a failure: not before this, whoever asks. */
  retryAtMs: number;
  /** Set when a warning told that there is nothing valid; reset when there is again. */
  warned: boolean;
  /** A mint that waits for its turn, or what takes back the one in flight. */
  minting: 'waiting' | AbortController | undefined;
  /** Set while a mint is in flight that may still be one of these authorities. */
  suspect: IsAuthority | undefined;
  /** Set while a mint is in flight that may have got one of these serial numbers. */
  revoked: ReadonlySet<string> | undefined;
  timer: Scheduled | undefined;
  timerAtMs: number;
  /** Set when nobody can find the item any more: a result that arrives later is thrown away. */
  dropped: boolean;
}

/** How long an SVID that nobody holds is kept, so that a reconnecting process gets the same one. */
const LINGER_MS = 60_000;

/** Equal for equal requests of one holder, and for nothing else. */
export function itemKey(holder: string, { id, ttlMs, dnsNames }: SvidRequest): string {
  return [holder, id, ttlMs ?? '', ...dnsNames].join('\0');
}

export function createItem(holder: string, request: SvidRequest): Item {
  return {
    key: itemKey(holder, request),
    holder,
    request,
    users: new Set(),
    recipient: undefined,
    current: undefined,
    failure: undefined,
    attempt: 0,
    retryAtMs: 0,
    warned: false,
    minting: undefined,
    suspect: undefined,
    revoked: undefined,
    timer: undefined,
    timerAtMs: 0,
    dropped: false,
  };
}

/** When to look at an item: to renew what has users, to drop what has none. */
export function nextLook(item: Item, nowMs: number): number {
  const mintMs = nextMint(item.current, item.retryAtMs, nowMs);
  return item.users.size > 0 ? mintMs : Math.min(mintMs, nowMs + LINGER_MS);
}

export function hasValid({ current }: Item, nowMs: number): boolean {
  return current !== undefined && isValidAt(current.svid, nowMs);
}

/** Whether what an item has, or may be about to have, was signed by one of these authorities. */
export function hangsOn({ current, minting, suspect }: Item, isMeant: IsAuthority): boolean {
  if (current && isMeant(current.svid.authorityId)) return true;
  return minting instanceof AbortController && suspect !== undefined;
}

/**
 * Makes an SVID due although its time has not come: it stays while it is valid, and is tried again
 * until there is another, as any that is due.
 */
export function makeDue(item: Item, nowMs: number): void {
  const { current } = item;
  if (current) item.current = { ...current, renewAtMs: Math.min(current.renewAtMs, nowMs) };
}

/** Puts a new SVID in place of what there was, whose key is wiped: nobody can ask for it any more. */
export function succeed(
  item: Item,
  svid: X509Svid,
  { policy, random, nowMs }: { policy: RenewalPolicy; random: Random; nowMs: number },
): HeldSvid {
  const life = { issuedAtMs: nowMs, notAfterMs: svid.notAfterMs };
  const renewAtMs = renewalTime(life, policy, random.unit());
  const before = item.current;
  item.current = { svid, renewAtMs, dueAtMs: before?.renewAtMs };
  before?.svid.key.wipe();
  item.failure = undefined;
  item.attempt = 0;
  item.retryAtMs = 0;
  return item.current;
}

/** The end of an item: a user that is left sees no SVID, and its key is wiped. */
export function drop(item: Item): void {
  const before = item.current;
  item.dropped = true;
  item.current = undefined;
  before?.svid.key.wipe();
}

/** Keeps what there is and puts the next attempt off; answers for how many milliseconds. */
export function fail(
  item: Item,
  error: IdentityError,
  { random, nowMs }: { random: Random; nowMs: number },
): number {
  const limits = retryLimits(nowMs, item.current?.svid.notAfterMs);
  const delayMs = Math.round(backoffDelay(item.attempt++, limits, random));
  item.failure = error;
  item.retryAtMs = nowMs + delayMs;
  return delayMs;
}
