import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import { createRates } from '../core/rates.ts';
import type { PeerCredentials } from '../identity/caller.ts';
import type { Kernel } from './kernel.ts';

/** Connections a second (contract: `limits.*`). */
export interface ArrivalLimits {
  /** Of one process, twice as many at once: a proxy opens a few, once. */
  readonly connectsPerSecondPerPid: number;
  /** Of one user, five times as many at once: proxies of many pods come back after a restart. */
  readonly connectsPerSecondPerUid: number;
}

export interface ArrivalDeps {
  readonly kernel: Pick<Kernel, 'peerCredentials'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Of a process or user that floods there is a line so often, not one for each connection. */
const SPOKEN_OF = { burst: 1, perSecond: 0.1 };

/**
 * Keeps those who connect again and again from filling the backlog for everybody else. The function
 * it makes answers false for a descriptor that is not worth any more work.
 */
export function createArrivals(
  { connectsPerSecondPerPid: perPid, connectsPerSecondPerUid: perUid }: ArrivalLimits,
  { kernel, clock, log }: ArrivalDeps,
): (fd: number) => boolean {
  const processes = createRates({ burst: 2 * perPid, perSecond: perPid }, clock);
  const users = createRates({ burst: 5 * perUid, perSecond: perUid }, clock);
  const processesSpokenOf = createRates(SPOKEN_OF, clock);
  const usersSpokenOf = createRates(SPOKEN_OF, clock);
  const ofProcess = `its process may open ${perPid} connections a second (limits.connects_per_second_per_pid)`;
  const ofUser = `its user may open ${perUid} connections a second (limits.connects_per_second_per_uid)`;

  function say({ pid, uid }: PeerCredentials, reason: string): void {
    log.warn({ peer_pid: pid, peer_uid: uid, reason }, 'connections closed at accept');
  }

  return (fd) => {
    const peer = kernel.peerCredentials(fd);
    const { pid, uid } = peer;
    // What a process may not have is not taken from its user. Hidden processes are all pid 0.
    if (pid > 0 && !processes.take(pid)) {
      if (processesSpokenOf.take(pid)) say(peer, ofProcess);
      return false;
    }
    if (users.take(uid)) return true;
    if (usersSpokenOf.take(uid)) say(peer, ofUser);
    return false;
  };
}
