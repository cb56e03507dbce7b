import { setMaxListeners } from 'node:events';
import { IdentityError } from '../core/errors.ts';
import type { Caller } from '../identity/caller.ts';
import type { Evidence } from './attestor.ts';
import type { Peer } from './peer.ts';

/** A process with at least one connection, or one that had some a moment ago. */
export interface Process {
  readonly peer: Peer;
  connections: number;
  /** What it was attested as; shared by its connections. */
  caller: Promise<Caller> | undefined;
  /** How to see whether what it was attested by is still so. */
  checks: Checks;
  /** Ends what it was attested as; a new one follows when it is to be attested again. */
  gone: AbortController;
  /** How many times it has been found to be something else than before. */
  renewals: number;
  /** The turn of the event loop in which it was last seen to be itself. */
  seenInTurn: number;
  /** The same of what takes longer to see. */
  agreedInTurn: number;
}

/** Absent: what the process was attested as rests on its user and group alone. */
export type Checks = Pick<Evidence, 'holds' | 'agrees'>;

export function newProcess(peer: Peer): Process {
  return {
    peer,
    connections: 1,
    caller: undefined,
    checks: {},
    gone: newEnd(),
    renewals: 0,
    seenInTurn: 0,
    agreedInTurn: 0,
  };
}

/** It stays pinned: the process is the same. What it was attested as is over. */
export function renew(process: Process, reason: IdentityError): void {
  const { gone } = process;
  process.caller = undefined;
  process.checks = {};
  process.gone = newEnd();
  process.renewals++;
  gone.abort(reason);
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
