import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { PeerCredentials } from '../identity/caller.ts';
import { createRates, type Rates } from '../core/rates.ts';
import type { Limit } from './metrics.ts';
import { createCounts, createShares, type Shares } from './shares.ts';

/** How much of the daemon peers may take (contract: `limits.*`). */
export interface AdmissionLimits {
  /** In all; nobody gets more than are left for the others. */
  readonly connections: number;
  readonly connectionsPerUid: number;
  readonly connectionsPerPid: number;
  /** Open streams in all; nobody gets more than are left for the others. */
  readonly streams: number;
  /** Names that all streams watch together; likewise. */
  readonly names: number;
  /** Requests of one process that are not mere answers; twice as many at once. */
  readonly requestsPerSecond: number;
}

/** What becomes of a connection. */
export type Entry =
  | { readonly kind: 'taken' }
  /** Taken for the sake of a sentence: each of its calls is refused with this. */
  | { readonly kind: 'told'; readonly refusal: IdentityError }
  /** Not worth a descriptor. */
  | { readonly kind: 'closed'; readonly reason: string };

/** Keeps a peer from taking what the others need. What was entered has to be left again. */
export interface Admission {
  /** Counts a connection unless it is to be closed. */
  enter(peer: PeerCredentials): Entry;
  leave(peer: PeerCredentials, kind: 'taken' | 'told'): void;
  /** Makes a connection one that is taken, if there is room for it by now. */
  promote(peer: PeerCredentials): boolean;
  /** Counts a stream and the work of opening it. Throws `ERR_LIMIT`. */
  open(peer: PeerCredentials): void;
  close(peer: PeerCredentials): void;
  /**
   * Counts names that a stream watches from now on, or with less than 0 no more. Throws `ERR_LIMIT`
   * and counts nothing when there is no room for them.
   */
  watch(peer: PeerCredentials, more: number): void;
  /**
   * Counts a request for so many names that costs work; the first one of a stream was counted with
   * the stream, but for its names. Throws `ERR_LIMIT`.
   */
  request(peer: PeerCredentials, names: number, first: boolean): void;
  /** Whether a peer that was refused has been refused too often to be worth an answer. */
  insists(peer: PeerCredentials): boolean;
  /** A connection had to be closed for what the peer did: after a few it is kept out for a while. */
  blame(peer: PeerCredentials): void;
}

/** Names of one request that cost no more than a request with one. */
const NAMES_A_REQUEST = 16;
/** Refusals that a process may collect before its connections are closed. */
const REFUSALS = { burst: 1000, perSecond: 100 };
/** Connections of a process that are closed for what it did before no more are accepted. */
const OFFENCES = { burst: 3, perSecond: 0.2 };

/** What a user with a few proxies needs, whatever others have taken. */
const PROXY_NEEDS = { connections: 4, streams: 16, names: 64 };
/** Connections of one user that are one too many and told so; further ones are closed. */
const TOLD = 16;

/** @param reached is told of each refusal. */
export function createAdmission(
  limits: AdmissionLimits,
  clock: Clock,
  reached: (limit: Limit) => void,
): Admission {
  return new LimitedAdmission(limits, clock, reached);
}

class LimitedAdmission implements Admission {
  readonly #limits: AdmissionLimits;
  readonly #reached: (limit: Limit) => void;
  readonly #connections: Shares;
  readonly #streams: Shares;
  readonly #names: Shares;
  readonly #ofPids = createCounts();
  readonly #told = createCounts();
  readonly #requests: Rates;
  readonly #refusals: Rates;
  readonly #offences: Rates;

  constructor(limits: AdmissionLimits, clock: Clock, reached: (limit: Limit) => void) {
    const { requestsPerSecond: perSecond } = limits;
    this.#limits = limits;
    this.#reached = reached;
    this.#connections = createShares(limits.connections, PROXY_NEEDS.connections);
    this.#streams = createShares(limits.streams, PROXY_NEEDS.streams);
    this.#names = createShares(limits.names, PROXY_NEEDS.names);
    this.#requests = createRates({ burst: 2 * perSecond, perSecond }, clock);
    this.#refusals = createRates(REFUSALS, clock);
    this.#offences = createRates(OFFENCES, clock);
  }

  enter(peer: PeerCredentials): Entry {
    const { uid } = peer;
    if (!this.#offences.has(keyOf(peer))) {
      return this.#closed('offences', 'its connections were closed for what it did');
    }
    if (!this.#connections.fits(uid, 1)) {
      return this.#closed('connections', 'too few connections are left for others');
    }
    const full = this.#full(peer);
    if (full && this.#told.of(uid) >= TOLD) return this.#closed(full.limit, full.message);
    this.#connections.take(uid, 1);
    if (!full) {
      this.#ofPids.add(keyOf(peer), 1);
      return { kind: 'taken' };
    }
    this.#told.add(uid, 1);
    return { kind: 'told', refusal: this.#exceeded(full.limit, full.message) };
  }

  leave(peer: PeerCredentials, kind: 'taken' | 'told'): void {
    this.#connections.take(peer.uid, -1);
    if (kind === 'told') this.#told.add(peer.uid, -1);
    else this.#ofPids.add(keyOf(peer), -1);
  }

  promote(peer: PeerCredentials): boolean {
    const full = this.#full(peer);
    if (full) {
      this.#reached(full.limit);
      return false;
    }
    this.#told.add(peer.uid, -1);
    this.#ofPids.add(keyOf(peer), 1);
    return true;
  }

  open(peer: PeerCredentials): void {
    this.request(peer, 0, false);
    this.#take('streams', this.#streams, peer, 1);
  }

  close({ uid }: PeerCredentials): void {
    this.#streams.take(uid, -1);
  }

  watch(peer: PeerCredentials, more: number): void {
    this.#take('names', this.#names, peer, more);
  }

  request(peer: PeerCredentials, names: number, first: boolean): void {
    const { requestsPerSecond } = this.#limits;
    // A request for many names is worth as many small ones as it takes time.
    for (let cost = first ? NAMES_A_REQUEST : 0; cost <= names; cost += NAMES_A_REQUEST) {
      if (this.#requests.take(keyOf(peer))) continue;
      throw this.#exceeded(
        'requests',
        `process ${peer.pid} sends more than ${requestsPerSecond} requests per second`,
      );
    }
  }

  insists(peer: PeerCredentials): boolean {
    const insists = !this.#refusals.take(keyOf(peer));
    if (insists) this.#reached('refusals');
    return insists;
  }

  blame(peer: PeerCredentials): void {
    this.#offences.take(keyOf(peer));
  }

  /** The limit that one more connection breaks which is nobody else's business. */
  #full(peer: PeerCredentials): { limit: Limit; message: string } | undefined {
    const { connectionsPerPid, connectionsPerUid } = this.#limits;
    const { pid, uid } = peer;
    if (this.#ofPids.of(keyOf(peer)) >= connectionsPerPid) {
      const message = `process ${pid} has ${connectionsPerPid} connections, more are not allowed`;
      return { limit: 'connections_per_pid', message };
    }
    if (this.#connections.of(uid) - this.#told.of(uid) >= connectionsPerUid) {
      const message = `uid ${uid} has ${connectionsPerUid} connections, more are not allowed`;
      return { limit: 'connections_per_uid', message };
    }
    return undefined;
  }

  #closed(limit: Limit, reason: string): Entry {
    this.#reached(limit);
    return { kind: 'closed', reason };
  }

  #take(limit: 'streams' | 'names', shares: Shares, { uid }: PeerCredentials, more: number): void {
    if (more > 0 && !shares.fits(uid, more)) {
      const own = `uid ${uid} has ${shares.of(uid)} ${limit}`;
      throw this.#exceeded(limit, `${own}, ${shares.left} are left for all users together`);
    }
    shares.take(uid, more);
  }

  #exceeded(limit: Limit, message: string): IdentityError {
    this.#reached(limit);
    return new IdentityError('ERR_LIMIT', message);
  }
}

/** Processes that are not visible share pid 0; at least their users are told apart. */
function keyOf({ pid, uid }: PeerCredentials): number {
  return pid > 0 ? pid : -1 - uid;
}
