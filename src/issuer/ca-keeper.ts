import type { Clock } from '../core/clock.ts';
import { toIdentityError } from '../core/errors.ts';
import { createListeners } from '../core/listeners.ts';
import type { Logger } from '../core/log.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { isValidAt, type Authority } from './authority.ts';
import type { Moment } from './ca-changes.ts';
import {
  hasSameBundle,
  nameOfCa,
  SELF_SIGNED,
  signersIn,
  signingLifeOf,
  trustedIn,
  type CaState,
} from './ca-state.ts';
import type { SigningKey } from './keys.ts';
import type { AuthorityStore } from './store.ts';

interface Options {
  readonly store: AuthorityStore;
  readonly state: CaState;
  readonly keys: ReadonlyMap<string, SigningKey>;
  /** Name of the upstream in force. */
  readonly upstream: string;
  readonly newRootDelayMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A clock may be wrong by this much for a while: what has just ended is kept over a start. */
const DOUBT_MS = 3_600_000;
/** When a longer life that could not be kept is tried again. */
const RETRY_MS = 60_000;

/** The authorities of the moment, in memory as in the journal; the one writer of it. */
export class CaKeeper {
  readonly #store: AuthorityStore;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #upstream: string;
  readonly #othersMs: number;
  readonly #keys: Map<string, SigningKey>;
  readonly #bundles;
  readonly #taints;
  readonly #states;
  readonly #opened: { readonly wallMs: number; readonly steadyMs: number };
  #state: CaState;
  #signers: readonly Authority[] = [];
  #bundle: TrustBundle | undefined;
  /** The latest that the clock was seen at: SVIDs may have been signed then. */
  #latestMs: number;
  #longestRetryMs = -Infinity;

  constructor({ store, state, keys, clock, log, ...rest }: Options) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    this.#upstream = rest.upstream;
    // Nodes that share an upstream change over one by one; a root of our own nobody else signs under.
    this.#othersMs = rest.upstream === SELF_SIGNED ? 0 : rest.newRootDelayMs;
    this.#keys = new Map(keys);
    this.#opened = { wallMs: clock.now(), steadyMs: clock.monotonic() };
    this.#latestMs = Math.max(state.writtenMs, clock.now());
    const failed = (err: unknown) => log.error({ err }, 'who follows the authorities failed');
    this.#bundles = createListeners<undefined>(failed);
    this.#taints = createListeners<readonly string[]>(failed);
    this.#states = createListeners<undefined>(failed);
    this.#state = state;
    this.#adopt(state, true);
  }

  state(): CaState {
    return this.#state;
  }

  /** A key by its name; undefined for one of what has ended. */
  key(id: string): SigningKey | undefined {
    return this.#keys.get(id);
  }

  /** The best CA that is valid now; the same object until something changes. */
  current(): Authority | undefined {
    const nowMs = this.#clock.now();
    if (nowMs > this.#latestMs) this.#latestMs = nowMs;
    for (const signer of this.#signers) if (isValidAt(signer.validity, nowMs)) return signer;
    return undefined;
  }

  bundle(): TrustBundle {
    if (!this.#bundle) throw new TypeError('the bundle is asked for before there is a root');
    return this.#bundle;
  }

  onBundleChange(listener: () => void): () => void {
    return this.#bundles.add(listener);
  }

  /** Called whenever `state` answers something else. */
  onChange(listener: () => void): () => void {
    return this.#states.add(listener);
  }

  onTainted(listener: (names: readonly string[]) => void): () => void {
    return this.#taints.add(listener);
  }

  moment(): Moment {
    const nowMs = this.#clock.now();
    this.#latestMs = Math.max(this.#latestMs, nowMs);
    const [latestMs, othersMs] = [this.#latestMs, this.#othersMs];
    return { nowMs, latestMs, upstream: this.#upstream, othersMs };
  }

  /**
   * Whether a moment is past for good. The slower of two clocks decides: when the wall clock is set
   * forward and back again, nothing is gone that is needed afterwards.
   */
  isOver(ms: number): boolean {
    const { wallMs, steadyMs } = this.#opened;
    const steady = wallMs + this.#clock.monotonic() - steadyMs;
    const isRecent = ms <= wallMs && wallMs - ms < DOUBT_MS;
    return Math.min(this.#clock.now(), steady) >= (isRecent ? wallMs + DOUBT_MS : ms);
  }

  /** A key that was made for what the next `commit` brings. */
  addKey(key: SigningKey): void {
    this.#keys.set(key.id, key);
  }

  /** In the journal first, then in force. Throws `ERR_DISK`, and nothing has changed. */
  commit(next: CaState): void {
    const before = this.#state;
    const isOther = !hasSameBundle(before, next);
    const { latestMs: writtenMs } = this.moment();
    const bundleSequence = before.bundleSequence + (isOther ? 1 : 0);
    const kept = { ...next, bundleSequence, writtenMs };
    this.#store.journal.write(kept);
    this.#state = kept;
    this.#adopt(kept, isOther);
    // Those who add to the bundle look before others read it.
    this.#states.emit(undefined);
    if (isOther) this.#bundles.emit(undefined);
    const tainted = newlyTainted(before, kept);
    if (tainted.length > 0) this.#taints.emit(tainted);
  }

  /**
   * The life that an SVID of this one may be given: a longer one than ever before has to be in the
   * journal, or a root might go while the SVID lives.
   */
  allowedTtlMs(ttlMs: number): number {
    const { longestTtlMs } = this.#state;
    if (ttlMs <= longestTtlMs) return ttlMs;
    const nowMs = this.#clock.now();
    if (Math.abs(nowMs - this.#longestRetryMs) < RETRY_MS && longestTtlMs > 0) return longestTtlMs;
    try {
      this.commit({ ...this.#state, longestTtlMs: ttlMs });
      return ttlMs;
    } catch (thrown) {
      const error = toIdentityError(thrown, 'ERR_DISK');
      if (longestTtlMs === 0) throw error;
      this.#longestRetryMs = nowMs;
      this.#log.warn({ err: error }, 'a longer life could not be kept, SVIDs get a shorter one');
      return longestTtlMs;
    }
  }

  /**
   * Removes keys that nothing names any more, and those of attempts that failed. The journal is asked
   * as it is: a write that failed late may have reached the disk.
   */
  async removeKeys(): Promise<void> {
    const { keys, journal } = this.#store;
    try {
      const named = new Set([...keysOf(this.#state), ...keysOf(journal.read())]);
      for (const id of this.#keys.keys()) if (!named.has(id)) this.#keys.delete(id);
      for (const id of await keys.ids()) if (!named.has(id)) await keys.remove(id);
    } catch (thrown) {
      this.#log.warn({ err: thrown }, 'an old CA key could not be removed');
    }
  }

  #adopt(state: CaState, isOther: boolean): void {
    this.#signers = signersIn(state).flatMap((ca): Authority[] => {
      const key = this.#keys.get(ca.key.id);
      const [certificate] = ca.chain;
      return key ? [{ certificate, key, chain: ca.chain, validity: signingLifeOf(state, ca) }] : [];
    });
    const roots = trustedIn(state);
    if (!isOther || roots.length === 0) return;
    this.#bundle = {
      trustDomain: parseTrustDomain(state.trustDomain),
      sequence: state.bundleSequence,
      x509Authorities: roots.map(({ certificate: { der, validity } }) => ({
        der,
        notAfterMs: validity.notAfterMs,
      })),
    };
  }
}

function newlyTainted(before: CaState, after: CaState): readonly string[] {
  const already = new Set(before.issuing.filter((ca) => ca.tainted).map(nameOfCa));
  return after.issuing
    .filter((ca) => ca.tainted)
    .map(nameOfCa)
    .filter((name) => !already.has(name));
}

function keysOf(state: CaState | undefined): readonly string[] {
  return [...(state?.roots ?? []), ...(state?.issuing ?? [])].flatMap(({ key }) =>
    key ? [key.id] : [],
  );
}
