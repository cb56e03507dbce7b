import { backoffDelay } from '../core/backoff.ts';
import type { Clock, Timer } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { Schedule, Scheduled } from '../core/schedule.ts';
import type { SpiffeId } from '../identity/spiffe-id.ts';
import type { X509Svid } from '../identity/svid.ts';
import {
  dueTime,
  isValidAt,
  nextMint,
  renewalTime,
  retryLimits,
  type RenewalPolicy,
} from './renewal.ts';

/** What to mint; two requests with the same content are served by one SVID per holder. */
export interface SvidRequest {
  readonly id: SpiffeId;
  /** Undefined: the issuer's default. */
  readonly ttlMs: number | undefined;
  readonly dnsNames: readonly string[];
}

/** Signs SVIDs; the issuer, as rotation sees it. */
export interface SvidIssuer {
  mint(request: SvidRequest, options: { signal: AbortSignal }): Promise<X509Svid>;
}

/** An SVID with the plan for its renewal. */
export interface HeldSvid {
  readonly svid: X509Svid;
  readonly renewAtMs: number;
  /** When this SVID was due to replace another one; undefined for the first of a holding. */
  readonly dueAtMs: number | undefined;
}

/** One user's view of an SVID; `release` it when nobody asks for it any more. */
export interface Holding {
  /** An SVID valid now, or undefined while there is none: the first is being made, one ran out. */
  current(): HeldSvid | undefined;
  /** Why the last attempt failed, while that is still so. */
  failure(): IdentityError | undefined;
  release(): void;
}

/** Owner of all SVIDs in memory: renewed while held, dropped when nobody asks. */
export interface Rotator {
  /** `holder` is a process: SVIDs and keys are never shared between two of them. */
  hold(holder: string, request: SvidRequest, onChange: () => void): Holding;
  /** Drops everything of a process that is gone. */
  forget(holder: string): void;
  stats(): RotationStats;
  close(): void;
}

export interface RotationStats {
  readonly held: number;
  /** SVIDs past their renewal point. */
  readonly due: number;
  /** Earliest expiry, or undefined when nothing is held. */
  readonly earliestNotAfterMs: number | undefined;
}

export interface RotatorDeps {
  readonly issuer: SvidIssuer;
  readonly clock: Clock;
  readonly random: Random;
  readonly schedule: Schedule;
  readonly log: Logger;
}

/** How long an SVID that nobody holds is kept, so that a reconnecting process gets the same one. */
const LINGER_MS = 60_000;
/** A signal of its own costs a tenth of a mint, so those of finished mints serve again. */
const SPARE_ABORTS = 32;
/** How often plans are held against the wall clock, which may have been set back. */
const LOOK_MS = 30_000;

interface Item {
  readonly key: string;
  readonly holder: string;
  readonly request: SvidRequest;
  readonly users: Set<() => void>;
  current: HeldSvid | undefined;
  failure: IdentityError | undefined;
  attempt: number;
  /** After a failure: not before this, whoever asks. */
  retryAtMs: number;
  /** Takes back the mint in flight. */
  minting: AbortController | undefined;
  timer: Scheduled | undefined;
  timerAtMs: number;
  /** Set when the item left the map: a result that arrives later is thrown away. */
  dropped: boolean;
}

export function createRotator(policy: RenewalPolicy, deps: RotatorDeps): Rotator {
  const { issuer, clock, random, schedule, log } = deps;
  const items = new Map<string, Item>();
  const holders = new Map<string, Set<Item>>();
  const spareAborts: AbortController[] = [];
  let closed = false;
  let watch: Timer | undefined;

  function obtain(holder: string, request: SvidRequest): Item {
    const key = [holder, request.id, request.ttlMs ?? '', ...request.dnsNames].join('\0');
    const known = items.get(key);
    if (known) return known;
    const item: Item = {
      key,
      holder,
      request,
      users: new Set(),
      current: undefined,
      failure: undefined,
      attempt: 0,
      retryAtMs: 0,
      minting: undefined,
      timer: undefined,
      timerAtMs: 0,
      dropped: closed,
    };
    if (closed) return item;
    items.set(key, item);
    const siblings = holders.get(holder);
    if (siblings) siblings.add(item);
    else holders.set(holder, new Set([item]));
    watch ??= clock.after(LOOK_MS, look);
    return item;
  }

  function drop(item: Item): void {
    item.dropped = true;
    item.timer?.cancel();
    item.minting?.abort();
    items.delete(item.key);
    const siblings = holders.get(item.holder);
    siblings?.delete(item);
    if (siblings?.size === 0) holders.delete(item.holder);
    if (items.size > 0) return;
    watch?.cancel();
    watch = undefined;
  }

  /** The schedule waits for times of the wall clock: set back, they are further off than meant. */
  function look(): void {
    const now = clock.now();
    for (const item of items.values()) {
      if (item.timer && planned(item, now) < item.timerAtMs) plan(item);
    }
    watch = clock.after(LOOK_MS, look);
  }

  function plan(item: Item): void {
    item.timer?.cancel();
    item.timer = undefined;
    if (item.dropped) return;
    // What is being made is kept until it is there: asked for again at once it is not made twice.
    if (item.minting) return;
    item.timerAtMs = planned(item, clock.now());
    item.timer = schedule.at(item.timerAtMs, () => {
      if (item.users.size > 0) void renew(item);
      else drop(item);
    });
  }

  /** When to look at an item: to renew what has users, to drop what has none. */
  function planned(item: Item, now: number): number {
    const mintMs = nextMint(item.current, item.retryAtMs, now);
    return item.users.size > 0 ? mintMs : Math.min(mintMs, now + LINGER_MS);
  }

  const isOver = (item: Item) => item.dropped;

  async function renew(item: Item): Promise<void> {
    if (item.minting || isOver(item)) return;
    const abort = spareAborts.pop() ?? new AbortController();
    item.minting = abort;
    plan(item);
    const result = await mint(item.request, abort.signal);
    item.minting = undefined;
    if (isOver(item)) return;
    if (spareAborts.length < SPARE_ABORTS) spareAborts.push(abort);
    if (result instanceof IdentityError) failed(item, result);
    else minted(item, result);
  }

  async function mint(
    request: SvidRequest,
    signal: AbortSignal,
  ): Promise<X509Svid | IdentityError> {
    try {
      const svid = await issuer.mint(request, { signal });
      if (svid.id !== request.id) throw new IdentityError('ERR_BUG', 'an SVID for another ID');
      if (isValidAt(svid, clock.now())) return svid;
      throw new IdentityError(
        'ERR_ISSUER',
        'the new SVID has expired already, or is not valid yet',
      );
    } catch (thrown) {
      return toIdentityError(thrown, 'ERR_ISSUER');
    }
  }

  function minted(item: Item, svid: X509Svid): void {
    accept(item, svid);
    plan(item);
    notify(item);
  }

  function accept(item: Item, svid: X509Svid): void {
    const issuedAtMs = clock.now();
    const renewAtMs = renewalTime(
      { issuedAtMs, notAfterMs: svid.notAfterMs },
      policy,
      random.unit(),
    );
    item.current = { svid, renewAtMs, dueAtMs: item.current?.renewAtMs };
    item.failure = undefined;
    item.attempt = 0;
    item.retryAtMs = 0;
    log.debug(
      {
        spiffe_id: item.request.id,
        serial: svid.serial,
        not_after: new Date(svid.notAfterMs),
        refresh_at: new Date(renewAtMs),
      },
      'SVID minted',
    );
  }

  function failed(item: Item, error: IdentityError): void {
    const nowMs = clock.now();
    const old = item.current?.svid;
    const valid = old !== undefined && isValidAt(old, nowMs);
    const delayMs = backoffDelay(item.attempt++, retryLimits(nowMs, old?.notAfterMs), random);
    item.failure = error;
    item.retryAtMs = nowMs + Math.round(delayMs);
    plan(item);
    const fields = {
      spiffe_id: item.request.id,
      attempt: item.attempt,
      retry_in_ms: Math.round(delayMs),
      code: error.code,
      err: error,
    };
    if (valid) log.info(fields, 'SVID renewal failed, the old one is still valid');
    else log.warn(fields, 'SVID minting failed, the workload has no valid SVID');
    if (!valid) notify(item);
  }

  function notify(item: Item): void {
    for (const onChange of [...item.users]) {
      try {
        onChange();
      } catch (thrown) {
        log.error({ err: thrown }, 'a user of an SVID failed');
      }
    }
  }

  return {
    hold(holder, request, onChange) {
      const item = obtain(holder, request);
      const user = () => onChange();
      item.users.add(user);
      const now = clock.now();
      if (nextMint(item.current, item.retryAtMs, now) <= now) void renew(item);
      else if (item.users.size === 1) plan(item);
      return {
        current() {
          const held = item.current;
          return held && isValidAt(held.svid, clock.now()) ? held : undefined;
        },
        failure: () => item.failure,
        release() {
          if (item.users.delete(user) && item.users.size === 0) plan(item);
        },
      };
    },
    forget(holder) {
      for (const item of [...(holders.get(holder) ?? [])]) drop(item);
    },
    stats() {
      const now = clock.now();
      let due = 0;
      let earliest: number | undefined;
      for (const { current } of items.values()) {
        if (!current) continue;
        if (dueTime(current, now) <= now) due++;
        earliest = Math.min(earliest ?? Infinity, current.svid.notAfterMs);
      }
      return { held: items.size, due, earliestNotAfterMs: earliest };
    },
    close() {
      closed = true;
      for (const item of [...items.values()]) drop(item);
    },
  };
}
