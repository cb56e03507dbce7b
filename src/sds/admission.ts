import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { PeerCredentials } from '../identity/caller.ts';
import { createRates } from './rates.ts';

/** How much of the daemon peers may take (contract: `limits.*`). */
export interface AdmissionLimits {
  /** In all; one user may have half of them. */
  readonly connections: number;
  readonly connectionsPerUid: number;
  /** Open streams in all; one user may have half of them. */
  readonly streams: number;
  /** Requests of one process that are not mere answers; twice as many at once. */
  readonly requestsPerSecond: number;
}

/** Keeps a peer from taking what the others need. What was entered has to be left again. */
export interface Admission {
  /** False when the user has too many connections. */
  enter(uid: number): boolean;
  leave(uid: number): void;
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
}

/** Names of one request that cost no more than a request with one. */
const NAMES_A_REQUEST = 50;
/** Refusals that a process may collect before its connections are closed. */
const REFUSALS = { burst: 1000, perSecond: 100 };

export function createAdmission(limits: AdmissionLimits, clock: Clock): Admission {
  const connections = new Map<number, number>();
  const streams = new Map<number, number>();
  const streamsPerUid = Math.max(Math.floor(limits.streams / 2), 1);
  const { requestsPerSecond } = limits;
  const requests = createRates(
    { burst: 2 * requestsPerSecond, perSecond: requestsPerSecond },
    clock,
  );
  const refusals = createRates(REFUSALS, clock);
  const perUid = Math.min(limits.connectionsPerUid, Math.ceil(limits.connections / 2));
  let open = 0;
  let connected = 0;

  function request(peer: PeerCredentials, names: number, first: boolean): void {
    // A request for many names is worth as many small ones as it takes time.
    for (let cost = first ? NAMES_A_REQUEST : 0; cost <= names; cost += NAMES_A_REQUEST) {
      if (requests.take(keyOf(peer))) continue;
      throw limit(`process ${peer.pid} sends more than ${requestsPerSecond} requests per second`);
    }
  }

  return {
    enter(uid) {
      if (connected >= limits.connections || (connections.get(uid) ?? 0) >= perUid) return false;
      connected++;
      add(connections, uid, 1);
      return true;
    },
    leave(uid) {
      connected--;
      add(connections, uid, -1);
    },
    open(peer) {
      const { uid } = peer;
      request(peer, 0, false);
      const own = streams.get(uid) ?? 0;
      if (own >= streamsPerUid) {
        throw limit(`uid ${uid} has ${own} streams, at most ${streamsPerUid} are allowed`);
      }
      if (open >= limits.streams) {
        throw limit(`${open} streams are open, at most ${limits.streams} are allowed`);
      }
      open++;
      add(streams, uid, 1);
    },
    close({ uid }) {
      open--;
      add(streams, uid, -1);
    },
    request,
    insists: (peer) => !refusals.take(keyOf(peer)),
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

function limit(message: string): IdentityError {
  return new IdentityError('ERR_LIMIT', message);
}
