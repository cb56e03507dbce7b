import type { Clock } from '../core/clock.ts';
import { createRates } from '../core/rates.ts';
import type { Kernel } from './kernel.ts';

/** Connections that a process may open: a proxy opens a few, once. */
const OF_A_PROCESS = { burst: 2000, perSecond: 1000 };
/** Proxies of many pods often run as one user, and all come back at once after a restart. */
const OF_A_USER = { burst: 10_000, perSecond: 2000 };

/**
 * Keeps those who connect again and again from filling the backlog for everybody else. The function
 * it makes answers false for a descriptor that is not worth any more work.
 */
export function createArrivals(
  kernel: Pick<Kernel, 'peerCredentials'>,
  clock: Clock,
): (fd: number) => boolean {
  const processes = createRates(OF_A_PROCESS, clock);
  const users = createRates(OF_A_USER, clock);
  return (fd) => {
    const { pid, uid } = kernel.peerCredentials(fd);
    // What a process may not have is not taken from its user. Hidden processes are all pid 0.
    return (pid <= 0 || processes.take(pid)) && users.take(uid);
  };
}
