import { setMaxListeners } from 'node:events';
import { IdentityError } from '../core/errors.ts';
import type { Caller } from '../identity/caller.ts';
import type { Peer } from './peer.ts';

/** A process with at least one connection, or one that had some a moment ago. */
export interface Process {
  readonly peer: Peer;
  connections: number;
  /** What it was attested as; shared by its connections. */
  caller: Promise<Caller> | undefined;
  /** Whether what it was attested by is still so. */
  holds: () => boolean;
  /** The same of what is looked at less often. */
  agrees: () => boolean;
  /** Ends what it was attested as; a new one follows when it is to be attested again. */
  gone: AbortController;
  /** How many times it has been found to be something else than before. */
  renewals: number;
  /** The turn of the event loop in which it was last seen to be itself. */
  seenInTurn: number;
}

export function newProcess(peer: Peer): Process {
  return {
    peer,
    connections: 1,
    caller: undefined,
    holds: () => true,
    agrees: () => true,
    gone: newEnd(),
    renewals: 0,
    seenInTurn: 0,
  };
}

/** It stays pinned: the process is the same. What it was attested as is over. */
export function renew(process: Process, reason: string): void {
  const { gone } = process;
  process.caller = undefined;
  process.holds = () => true;
  process.agrees = () => true;
  process.gone = newEnd();
  process.renewals++;
  gone.abort(ended(reason));
}

export function ended(reason: string): IdentityError {
  return new IdentityError('ERR_PEER_GONE', reason);
}

/** Every stream of a process listens to it. */
function newEnd(): AbortController {
  const end = new AbortController();
  setMaxListeners(0, end.signal);
  return end;
}
