import type { Clock, Timer } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { Schedule } from '../core/schedule.ts';
import type { X509Svid } from '../identity/svid.ts';
import {
  createItem,
  drop,
  fail,
  hangsOn,
  hasValid,
  makeDue,
  nextLook,
  succeed,
  type HeldSvid,
  type IsAuthority,
  type Item,
} from './item.ts';
import { Items } from './items.ts';
import { createMintTurns } from './mint-turns.ts';
import {
  createAbortPool,
  mintSvid,
  type Recipient,
  type SvidIssuer,
  type SvidRequest,
} from './minter.ts';
import { dueTime, nextMint, type RenewalPolicy } from './renewal.ts';

/** One user's view of an SVID; `release` it when nobody asks for it any more. */
interface Holding {
  /** An SVID valid now, or undefined while there is none: the first is being made, one ran out. */
  current(): HeldSvid | undefined;
  /** Why the last attempt failed, while that is still so. */
  failure(): IdentityError | undefined;
  release(): void;
}

/** Owner of all SVIDs in memory: renewed while held, dropped when nobody asks. */
export interface Rotator {
  /** `holder` is a process: SVIDs and keys are never shared between two of them. */
  hold(holder: string, request: SvidRequest, onChange: () => void, recipient?: Recipient): Holding;
  /** Drops everything of a process that is gone. */
  forget(holder: string): void;
  /**
   * Signs everything anew that these authorities have signed, at once and in turns; answers how many
   * that are. What is there stays while it is valid, what fails is tried again.
   */
  reissue(isMeant: IsAuthority): number;
  /**
   * Signs anew at once what has one of these serial numbers, which nobody may accept any more, and
   * drops what nobody holds of it; answers how many that were.
   */
  replace(serials: ReadonlySet<string>): number;
  /** Names of the SVIDs in memory that these authorities have signed; their serial numbers, mostly. */
  signedBy(isMeant: IsAuthority): string[];
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

interface RotatorDeps {
  readonly issuer: SvidIssuer;
  readonly clock: Clock;
  readonly random: Random;
  readonly schedule: Schedule;
  readonly log: Logger;
}

/** How often plans are held against the wall clock, which may have been set back. */
const LOOK_MS = 30_000;
/**
 * What is signed anew shares the turns of one holder, whoever has it: a process that comes meanwhile
 * finds as little before it as beside any other one.
 */
const REISSUE = Symbol('reissue');

export function createRotator(policy: RenewalPolicy, deps: RotatorDeps): Rotator {
  return new SvidRotator(policy, deps);
}

class SvidRotator implements Rotator {
  readonly #policy: RenewalPolicy;
  readonly #deps: RotatorDeps;
  readonly #items = new Items();
  readonly #turns = createMintTurns();
  readonly #aborts = createAbortPool();
  #closed = false;
  #watch: Timer | undefined;

  constructor(policy: RenewalPolicy, deps: RotatorDeps) {
    this.#policy = policy;
    this.#deps = deps;
  }

  hold(holder: string, request: SvidRequest, onChange: () => void, recipient?: Recipient): Holding {
    const { clock } = this.#deps;
    const item = this.#obtain(holder, request);
    item.recipient = recipient;
    const user = () => onChange();
    item.users.add(user);
    const now = clock.now();
    if (nextMint(item.current, item.retryAtMs, now) <= now) this.#renew(item);
    else if (item.users.size === 1) this.#plan(item);
    return {
      current: () => (hasValid(item, clock.now()) ? item.current : undefined),
      failure: () => item.failure,
      release: () => {
        if (item.users.delete(user) && item.users.size === 0) this.#plan(item);
      },
    };
  }

  forget(holder: string): void {
    for (const item of [...this.#items.of(holder)]) this.#drop(item);
  }

  reissue(isMeant: IsAuthority): number {
    let count = 0;
    for (const item of this.#items.inTurns()) {
      if (this.#doubt(item, isMeant)) count++;
    }
    return count;
  }

  replace(serials: ReadonlySet<string>): number {
    let count = 0;
    for (const item of this.#items.inTurns()) {
      // Signed and revoked before it is here: its serial number shows then.
      if (item.minting instanceof AbortController) item.revoked = serials;
      if (!item.current || !serials.has(item.current.svid.serial)) continue;
      count++;
      if (item.users.size === 0 && !item.minting) this.#drop(item);
      else this.#anew(item);
    }
    return count;
  }

  signedBy(isMeant: IsAuthority): string[] {
    const found = [...this.#items].filter((item) => hangsOn(item, isMeant));
    return found.map(({ current, key }) => current?.svid.serial ?? key);
  }

  stats(): RotationStats {
    const now = this.#deps.clock.now();
    let due = 0;
    let earliest: number | undefined;
    for (const { current } of this.#items) {
      if (!current) continue;
      if (dueTime(current, now) <= now) due++;
      earliest = Math.min(earliest ?? Infinity, current.svid.notAfterMs);
    }
    return { held: this.#items.size, due, earliestNotAfterMs: earliest };
  }

  close(): void {
    this.#closed = true;
    for (const item of [...this.#items]) this.#drop(item);
  }

  #doubt(item: Item, isMeant: IsAuthority): boolean {
    const inFlight = item.minting instanceof AbortController;
    // It was asked for before: who signs it shows when it is there.
    if (inFlight) item.suspect = isMeant;
    const isHit = item.current !== undefined && isMeant(item.current.svid.authorityId);
    if (isHit) this.#anew(item);
    return isHit || inFlight;
  }

  /** One that nobody uses is renewed when somebody asks for it. */
  #anew(item: Item): void {
    makeDue(item, this.#deps.clock.now());
    if (item.users.size > 0) this.#renew(item, REISSUE);
  }

  #obtain(holder: string, request: SvidRequest): Item {
    if (this.#closed) return { ...createItem(holder, request), dropped: true };
    this.#watch ??= this.#deps.clock.after(LOOK_MS, () => this.#look());
    return this.#items.obtain(holder, request);
  }

  #drop(item: Item): void {
    drop(item);
    item.timer?.cancel();
    if (item.minting instanceof AbortController) item.minting.abort();
    this.#items.delete(item);
    if (this.#items.size > 0) return;
    this.#watch?.cancel();
    this.#watch = undefined;
  }

  /** The schedule waits for times of the wall clock: set back, they are further off than meant. */
  #look(): void {
    const { clock } = this.#deps;
    const now = clock.now();
    for (const item of this.#items) {
      if (item.timer && nextLook(item, now) < item.timerAtMs) this.#plan(item);
    }
    this.#watch = clock.after(LOOK_MS, () => this.#look());
  }

  #plan(item: Item): void {
    item.timer?.cancel();
    item.timer = undefined;
    if (item.dropped) return;
    // What is being made is kept until it is there: asked for again at once it is not made twice.
    if (item.minting) return;
    const { clock, schedule } = this.#deps;
    item.timerAtMs = nextLook(item, clock.now());
    item.timer = schedule.at(item.timerAtMs, () => {
      if (item.users.size > 0) this.#renew(item);
      else this.#drop(item);
    });
  }

  #renew(item: Item, lane: string | symbol = item.holder): void {
    if (item.minting || item.dropped) return;
    item.minting = 'waiting';
    this.#plan(item);
    this.#turns.take(lane, () => this.#mint(item));
  }

  async #mint(item: Item): Promise<void> {
    if (item.dropped) return;
    const { issuer, clock } = this.#deps;
    const abort = (item.minting = this.#aborts.take());
    const { request, recipient } = item;
    const result = await mintSvid(issuer, request, clock, { signal: abort.signal, recipient });
    item.minting = undefined;
    // Its signal may be aborted.
    if (isDropped(item)) return discard(result);
    this.#aborts.giveBack(abort);
    const { suspect: isDoubtful, revoked } = item;
    item.suspect = item.revoked = undefined;
    if (result instanceof IdentityError) return this.#failed(item, result);
    this.#minted(item, result);
    if (isDoubtful?.(result.authorityId) || revoked?.has(result.serial)) this.#anew(item);
  }

  #minted(item: Item, svid: X509Svid): void {
    const { clock, random, log } = this.#deps;
    const context = { policy: this.#policy, random, nowMs: clock.now() };
    const { renewAtMs } = succeed(item, svid, context);
    const fields = {
      spiffe_id: item.request.id,
      serial: svid.serial,
      not_after: new Date(svid.notAfterMs),
      refresh_at: new Date(renewAtMs),
    };
    if (item.warned) log.info(fields, 'SVID minted at last, the workload has a valid one');
    else log.debug(fields, 'SVID minted');
    item.warned = false;
    this.#plan(item);
    this.#notify(item);
  }

  #failed(item: Item, error: IdentityError): void {
    const { clock, random, log } = this.#deps;
    const nowMs = clock.now();
    const valid = hasValid(item, nowMs);
    const retryMs = fail(item, error, { random, nowMs });
    this.#plan(item);
    const fields = {
      spiffe_id: item.request.id,
      attempt: item.attempt,
      retry_in_ms: retryMs,
      code: error.code,
      err: error,
    };
    if (valid) log.info(fields, 'SVID renewal failed, the old one is still valid');
    else if (item.warned) log.debug(fields, 'SVID minting failed again');
    else log.warn(fields, 'SVID minting failed, the workload has no valid SVID');
    item.warned = !valid;
    if (!valid) this.#notify(item);
  }

  #notify(item: Item): void {
    for (const onChange of [...item.users]) {
      try {
        onChange();
      } catch (thrown) {
        this.#deps.log.error({ err: thrown }, 'a user of an SVID failed');
      }
    }
  }
}

/** Asked anew after a wait, in which anything may have happened. */
const isDropped = (item: Item) => item.dropped;

/** A mint that came too late: nobody has seen its key. */
function discard(result: X509Svid | IdentityError): void {
  if (!(result instanceof IdentityError)) result.key.wipe();
}
