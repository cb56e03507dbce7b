import { readFileSync } from 'node:fs';

/** What the descriptors of this process are good for. */
export interface DescriptorBudget {
  readonly connections: number;
  /** Processes that have disconnected and stay pinned for a while. */
  readonly lingering: number;
}

/** Of a connection: its socket, and the pidfd and folder of its process. */
const PER_CONNECTION = 3;
/** Of a process alone. */
const PER_PROCESS = 2;
/** For the operator, the policy, keys and journal. */
const SPARE = 64;
/** Reconnecting is what a few do at a time: an eighth is for them. */
const LINGERING_SHARE = 1 / 8;
const MOST_LINGERING = 1024;

/** Divides the descriptors that this process may have, as its limits say. */
export function descriptorBudget(
  limits = readFileSync('/proc/self/limits', 'latin1'),
): DescriptorBudget {
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  if (soft === undefined) {
    return { connections: Number.MAX_SAFE_INTEGER, lingering: MOST_LINGERING };
  }
  const free = Math.max(Number(soft) - SPARE, 0);
  const lingering = Math.min(Math.floor((free * LINGERING_SHARE) / PER_PROCESS), MOST_LINGERING);
  const connections = Math.floor((free - lingering * PER_PROCESS) / PER_CONNECTION);
  return { connections: Math.max(connections, 1), lingering };
}
