import type { FleetPlan } from './client/fleet.ts';
import type { Options } from './options.ts';
import type { Figure } from './report.ts';
import type { Server } from './server.ts';

/** How long each figure is measured. */
export interface Effort {
  /** Repetitions: their spread says how far a figure can be trusted. */
  readonly runs: number;
  /** Paced connects in one run. */
  readonly samples: number;
  readonly idleMs: number;
  readonly startRuns: number;
  /** Bundle changes in one run, for each thousand of streams fewer. */
  readonly pushes: number;
  /** Bundle changes in one run that are timed one by one. */
  readonly bundleChanges: number;
  /** Changes of one identity. */
  readonly changes: number;
}

export const FULL: Effort = {
  runs: 3,
  samples: 300,
  idleMs: 10_000,
  startRuns: 9,
  pushes: 40,
  bundleChanges: 60,
  changes: 5,
};
export const QUICK: Effort = {
  runs: 1,
  samples: 40,
  idleMs: 2000,
  startRuns: 3,
  pushes: 10,
  bundleChanges: 25,
  changes: 3,
};

/** What every figure needs to know. */
export interface Bench {
  readonly options: Options;
  readonly effort: Effort;
}

/** A group of figures that are taken together. */
export interface Part {
  readonly name: string;
  /** Only root can run processes as other users, or in the cgroups of pods. */
  readonly needsRoot?: boolean;
  readonly run: () => Promise<Figure[]>;
}

/** Time within which any number of proxies must have been served: a hang is a failure. */
export const SERVED_WITHIN_MS = 30_000;

/** A fleet of `count` proxies that ask for the names of the options unless told otherwise. */
export function planFleet(
  { options }: Bench,
  server: Server,
  count: number,
  more: Partial<Pick<FleetPlan, 'names' | 'perProcess' | 'variant' | 'uids' | 'retryMs'>> = {},
): FleetPlan {
  const { names, node, nodeInAcks, ownProcesses } = options;
  return {
    names,
    ...more,
    path: server.path,
    count,
    node,
    nodeInAcks,
    perProcess: ownProcesses ? (more.perProcess ?? 1) : 0,
  };
}

/** The bundle's name: the last one that was given. */
export function bundleName({ options }: Bench): string {
  return options.names.at(-1) ?? '';
}
