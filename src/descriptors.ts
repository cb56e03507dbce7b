import { readFileSync } from 'node:fs';

/** What the descriptors of this process are good for. */
export interface DescriptorBudget {
  readonly connections: number;
  /** Processes that have disconnected and stay pinned for a while. */
  readonly lingering: number;
  /** Of the admin socket, and as many again of the metrics port. */
  readonly operator: number;
}

/** Of a connection: its socket, and the pidfd and folder of its process. */
const PER_CONNECTION = 3;
/** Of a process alone. */
const PER_PROCESS = 2;
/**
 * Of the daemon itself: about 32 that are always open, and as many for what it opens for a moment,
 * as policy, keys, journal and `/explain` do.
 */
const OWN = 64;
/** The admin socket and the metrics port; each gets a sixteenth, within bounds. */
const DOORS = 2;
const DOOR_SHARE = 1 / 16;
const FEWEST_AT_DOOR = 4;
const MOST_AT_DOOR = 64;
/** Reconnecting is what a few do at a time: an eighth is for them. */
const LINGERING_SHARE = 1 / 8;
const MOST_LINGERING = 1024;

/** Divides the descriptors that this process may have, as its limits say. */
export function descriptorBudget(
  limits = readFileSync('/proc/self/limits', 'latin1'),
): DescriptorBudget {
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  if (soft === undefined) {
    const connections = Number.MAX_SAFE_INTEGER;
    return { connections, lingering: MOST_LINGERING, operator: MOST_AT_DOOR };
  }
  const others = Math.max(Number(soft) - OWN, 0);
  const share = Math.floor(others * DOOR_SHARE);
  const operator = Math.min(Math.max(share, FEWEST_AT_DOOR), MOST_AT_DOOR);
  const free = Math.max(others - operator * DOORS, 0);
  const lingering = Math.min(Math.floor((free * LINGERING_SHARE) / PER_PROCESS), MOST_LINGERING);
  const connections = Math.floor((free - lingering * PER_PROCESS) / PER_CONNECTION);
  return { connections: Math.max(connections, 1), lingering, operator };
}
