import type { Clock } from '../core/clock.ts';
import { createRates, takeFrom, type Bucket } from '../core/rates.ts';

/** Which refusals are recorded: peers can be refused as often as they like, a disk is finite. */
export interface RefusalLimit {
  /** How many of the user were left out before this one; undefined when it is left out itself. */
  take(uid: number): number | undefined;
  /** What was to be recorded and could not be is left out too. */
  leaveOut(uid: number | undefined, count: number): void;
  /** Takes what was left out and has not been told yet, by user. */
  untold(): Iterable<readonly [uid: number | undefined, count: number]>;
}

const OF_ONE_USER = { burst: 100, perSecond: 5 };
/** Who may make users, as in a user namespace, has 65,536 of them. */
const OF_ALL = { burst: 400, perSecond: 20 };
/** Users whose count is kept apart; of further ones it is one for all. */
const MAX_USERS = 1024;

export function createRefusalLimit(clock: Pick<Clock, 'monotonic'>): RefusalLimit {
  const users = createRates(OF_ONE_USER, clock);
  const all: Bucket = { level: OF_ALL.burst, atMs: clock.monotonic() };
  let leftOut = new Map<number | undefined, number>();

  function leaveOut(uid: number | undefined, count: number): void {
    const key = leftOut.has(uid) || leftOut.size < MAX_USERS ? uid : undefined;
    leftOut.set(key, (leftOut.get(key) ?? 0) + count);
  }

  return {
    take(uid) {
      if (users.take(uid) && takeFrom(all, OF_ALL, clock.monotonic())) {
        const before = leftOut.get(uid) ?? 0;
        leftOut.delete(uid);
        return before;
      }
      leaveOut(uid, 1);
      return undefined;
    },
    leaveOut,
    untold() {
      const told = leftOut;
      leftOut = new Map();
      return told;
    },
  };
}
