import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { PeerCredentials } from '../identity/caller.ts';
import { createRates } from './rates.ts';

/** How much of the daemon peers may take (contract: `limits.*`). */
export interface AdmissionLimits {
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
  /** Counts a request that costs work. Throws `ERR_LIMIT`. */
  request(peer: PeerCredentials): void;
  /** Whether a peer that was refused has been refused too often to be worth an answer. */
  insists(peer: PeerCredentials): boolean;
}

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
  let open = 0;

  function request({ pid }: PeerCredentials): void {
    if (requests.take(pid)) return;
    throw limit(`process ${pid} sends more than ${requestsPerSecond} requests per second`);
  }

  return {
    enter(uid) {
      if ((connections.get(uid) ?? 0) >= limits.connectionsPerUid) return false;
      add(connections, uid, 1);
      return true;
    },
    leave: (uid) => add(connections, uid, -1),
    open(peer) {
      const { uid } = peer;
      request(peer);
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
    insists: ({ pid }) => !refusals.take(pid),
  };
}

function add(counts: Map<number, number>, key: number, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}

function limit(message: string): IdentityError {
  return new IdentityError('ERR_LIMIT', message);
}
