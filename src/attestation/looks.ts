import type { Clock, Timer } from '../core/clock.ts';
import type { Process } from './process.ts';
import { createRound, type Round } from './round.ts';

/**
 * Looks at processes with a connection for what no descriptor tells: at user and group, of all of up to
 * 256 each tenth of a second; at what takes opening a file, of up to 32. Of more in turns.
 */
export interface Looks {
  /** From now on, and by what it was attested as now. */
  watch(process: Process): void;
  unwatch(process: Process): void;
  close(): void;
}

export interface LooksEvents {
  /** Takes 1.5 µs; for every process. */
  look(process: Process): void;
  /** Takes 10 to 25 µs, or 3 ms with thousands of groups; for one that has evidence that can change. */
  review(process: Process): void;
}

/** How many are few, and how many of more are looked at in a second. */
const LOOKS = { few: 256, inTurn: 120 };
const REVIEWS = { few: 32, inTurn: 10 };
/** To wake costs 130 µs by itself: where it is one process after the other, they wait for company. */
const TICK_MS = { few: 100, inTurn: 1000 };
/** Reviews of a tick, whatever groups the processes give themselves; the others are next in turn. */
const REVIEW_MS = 5;

export function createLooks(clock: Clock, events: LooksEvents): Looks {
  const connected = createRound<Process>();
  const checked = createRound<Process>();
  let timer: Timer | undefined;
  let closed = false;

  function arm(): void {
    if (timer || closed || connected.size === 0) return;
    const ms = connected.size > LOOKS.few ? TICK_MS.inTurn : TICK_MS.few;
    timer = clock.after(ms, () => {
      timer = undefined;
      takeTurns(connected, atMost(connected, LOOKS, ms), (process) => {
        events.look(process);
        return true;
      });
      const until = clock.monotonic() + REVIEW_MS;
      takeTurns(checked, atMost(checked, REVIEWS, ms), (process) => {
        events.review(process);
        return clock.monotonic() < until;
      });
      arm();
    });
  }

  function unwatch(process: Process): void {
    connected.delete(process);
    checked.delete(process);
  }

  return {
    watch(process) {
      const { checks, connections } = process;
      if (connections === 0) return unwatch(process);
      connected.add(process);
      if (checks.holds || checks.agrees) checked.add(process);
      else checked.delete(process);
      arm();
    },
    unwatch,
    close() {
      closed = true;
      timer?.cancel();
    },
  };
}

/** @param turn answers false when there is no time for another. */
function takeTurns(round: Round<Process>, most: number, turn: (process: Process) => boolean): void {
  for (let n = 0; n < most; n++) {
    const process = round.next();
    if (!process || !turn(process)) return;
  }
}

function atMost({ size }: Round<Process>, of: { few: number; inTurn: number }, ms: number): number {
  return size > of.few ? (of.inTurn * ms) / 1000 : size;
}
