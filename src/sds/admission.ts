import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { PeerCredentials } from '../identity/caller.ts';
import { createRates } from '../core/rates.ts';
import type { Limit } from './metrics.ts';

/** How much of the daemon peers may take (contract: `limits.*`). */
export interface AdmissionLimits {
  /** In all; one user may have half of them. */
  readonly connections: number;
  readonly connectionsPerUid: number;
  readonly connectionsPerPid: number;
  /** Open streams in all; one user may have half of them. */
  readonly streams: number;
  /** Requests of one process that are not mere answers; twice as many at once. */
  readonly requestsPerSecond: number;
}

/** Keeps a peer from taking what the others need. What was entered has to be left again. */
export interface Admission {
  /** Why the peer may not connect now; undefined when it may, and is counted. */
  enter(peer: PeerCredentials): string | undefined;
  leave(peer: PeerCredentials): void;
  /** Counts a stream and the work of opening it. Throws `ERR_LIMIT`. */
  open(peer: PeerCredentials): void;
  close(peer: PeerCredentials): void;
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

/** Why a connection is closed at once. */
const FULL = {
  offences: 'its connections were closed for what it did',
  connections_per_pid: 'too many connections of one process',
  connections_per_uid: 'too many connections of one user',
  connections: 'too many connections in all',
} satisfies Partial<Record<Limit, string>>;

/** @param reached is told of each refusal. */
export function createAdmission(
  limits: AdmissionLimits,
  clock: Clock,
  reached: (limit: Limit) => void,
): Admission {
  const ofUids = new Map<number, number>();
  const ofPids = new Map<number, number>();
  const streams = new Map<number, number>();
  const streamsPerUid = Math.max(Math.floor(limits.streams / 2), 1);
  const { requestsPerSecond } = limits;
  const requests = createRates(
    { burst: 2 * requestsPerSecond, perSecond: requestsPerSecond },
    clock,
  );
  const refusals = createRates(REFUSALS, clock);
  const offences = createRates(OFFENCES, clock);
  const perUid = Math.min(limits.connectionsPerUid, Math.ceil(limits.connections / 2));
  let open = 0;
  let connected = 0;

  function request(peer: PeerCredentials, names: number, first: boolean): void {
    // A request for many names is worth as many small ones as it takes time.
    for (let cost = first ? NAMES_A_REQUEST : 0; cost <= names; cost += NAMES_A_REQUEST) {
      if (requests.take(keyOf(peer))) continue;
      throw exceeded(
        'requests',
        `process ${peer.pid} sends more than ${requestsPerSecond} requests per second`,
      );
    }
  }

  function exceeded(limit: Limit, message: string): IdentityError {
    reached(limit);
    return new IdentityError('ERR_LIMIT', message);
  }

  /** The limit that one more connection would break. */
  function full(peer: PeerCredentials): keyof typeof FULL | undefined {
    if (!offences.has(keyOf(peer))) return 'offences';
    if ((ofPids.get(keyOf(peer)) ?? 0) >= limits.connectionsPerPid) return 'connections_per_pid';
    if ((ofUids.get(peer.uid) ?? 0) >= perUid) return 'connections_per_uid';
    return connected >= limits.connections ? 'connections' : undefined;
  }

  return {
    enter(peer) {
      const limit = full(peer);
      if (limit !== undefined) {
        reached(limit);
        return FULL[limit];
      }
      connected++;
      add(ofUids, peer.uid, 1);
      add(ofPids, keyOf(peer), 1);
      return undefined;
    },
    leave(peer) {
      connected--;
      add(ofUids, peer.uid, -1);
      add(ofPids, keyOf(peer), -1);
    },
    open(peer) {
      const { uid } = peer;
      request(peer, 0, false);
      const own = streams.get(uid) ?? 0;
      if (own >= streamsPerUid) {
        throw exceeded(
          'streams_per_uid',
          `uid ${uid} has ${own} streams, at most ${streamsPerUid} are allowed`,
        );
      }
      if (open >= limits.streams) {
        throw exceeded(
          'streams',
          `${open} streams are open, at most ${limits.streams} are allowed`,
        );
      }
      open++;
      add(streams, uid, 1);
    },
    close({ uid }) {
      open--;
      add(streams, uid, -1);
    },
    request,
    blame: (peer) => void offences.take(keyOf(peer)),
    insists(peer) {
      const insists = !refusals.take(keyOf(peer));
      if (insists) reached('refusals');
      return insists;
    },
  };
}

/** Processes that are not visible share pid 0; at least their users are told apart. */
function keyOf({ pid, uid }: PeerCredentials): number {
  return pid > 0 ? pid : -1 - uid;
}

function add(counts: Map<number, number>, key: number, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
