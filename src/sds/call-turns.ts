import type { Clock } from '../core/clock.ts';
import type { PeerCredentials } from '../identity/caller.ts';
import { FairQueue } from '../core/fair-queue.ts';

/** Starts calls, looks and reads connections so that no peer keeps the others waiting. */
export interface CallTurns {
  /**
   * Runs `start` now or, when much is going on, when it is the peer's turn; it answers false when
   * what it was for had gone by then and nothing was done.
   */
  take(peer: PeerCredentials, start: () => boolean): void;
  /** Runs `resume`, which lets a connection be read again, when it is the peer's turn. */
  readOn(peer: PeerCredentials, resume: () => void): void;
}

/**
 * Calls that are started before the event loop may look at other things, about a third of a
 * millisecond each: a newcomer's connection is read in time however many calls the others open.
 */
const CALLS_A_TURN = 16;
/** Some take longer: a call or a look may be about thousands of names. */
const MS_A_TURN = 5;
/** Calls that had gone cost next to nothing, but there may be thousands. */
const LOOKS_A_TURN = 512;
/** A connection that is read may bring 64 kB: a thousand calls, 25 ms. */
const READS_A_TURN = 1;

/** Users take turns, and the processes of one user among themselves. */
export function createCallTurns(clock: Pick<Clock, 'monotonic'>): CallTurns {
  const calls = new FairQueue<() => boolean>();
  const reads = new FairQueue<() => void>();
  let started = 0;
  let spentMs = 0;
  let armed = false;

  function arm(): void {
    if (armed) return;
    armed = true;
    setImmediate(turn);
  }

  function turn(): void {
    armed = false;
    started = 0;
    spentMs = 0;
    for (let n = 0; n < LOOKS_A_TURN && hasTime() && calls.size > 0; n++) {
      run(calls.shift());
    }
    for (let n = 0; n < READS_A_TURN; n++) reads.shift()?.();
    if (calls.size > 0 || reads.size > 0) arm();
  }

  function run(start: (() => boolean) | undefined): void {
    const beganAt = clock.monotonic();
    if (!start?.()) return;
    started++;
    spentMs += clock.monotonic() - beganAt;
    arm();
  }

  const hasTime = () => started < CALLS_A_TURN && spentMs < MS_A_TURN;

  return {
    take({ uid, pid }, start) {
      if (calls.size === 0 && hasTime()) return run(start);
      calls.push(start, uid, pid);
      arm();
    },
    readOn({ uid, pid }, resume) {
      reads.push(resume, uid, pid);
      arm();
    },
  };
}
