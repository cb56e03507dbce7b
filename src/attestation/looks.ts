import type { Clock, Timer } from '../core/clock.ts';
import type { Process } from './process.ts';
import { createRound, type Round } from './round.ts';

/**
 * Looks at processes with a connection for what no descriptor tells: another user, group or program.
 * All of up to 256 each tenth of a second, more in turns; where it takes files, of up to 32.
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
  /** Takes 10 to 25 µs; for one that was attested by more than its user and group. */
  review(process: Process): void;
}

/** How many are few, and how many of more are looked at in a second. */
const LOOKS = { few: 256, inTurn: 160 };
const REVIEWS = { few: 32, inTurn: 20 };
/** To wake costs 130 µs by itself: where it is one process after the other, they wait for company. */
const TICK_MS = { few: 100, inTurn: 1000 };

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
      for (const process of connected.next(atMost(connected, LOOKS, ms))) events.look(process);
      for (const process of checked.next(atMost(checked, REVIEWS, ms))) events.review(process);
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

function atMost({ size }: Round<Process>, of: { few: number; inTurn: number }, ms: number): number {
  return size > of.few ? (of.inTurn * ms) / 1000 : size;
}
