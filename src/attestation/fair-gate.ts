import { abortReason, unlessAborted } from '../core/clock.ts';

/** Bounds how much is under way at once, and lets no one party's crowd keep the others out. */
export interface FairGate {
  /**
   * Does the work when it is the party's turn: one of each party at a time, the parties one after the
   * other. Rejects as soon as the signal is aborted; the place stays taken until the work has
   * settled, since it may hold a thread that nothing can call back.
   */
  run<T>(party: number, work: () => Promise<T>, signal: AbortSignal): Promise<T>;
}

export function createFairGate(places: number): FairGate {
  // Both in the order of coming; a party that has had its turn goes to the end.
  const waiting = new Map<number, Set<() => void>>();
  const busy = new Set<number>();

  function admit(): void {
    // At most `places` of the parties that are passed over are busy.
    for (const [party, turns] of waiting) {
      if (busy.size >= places) return;
      const [turn] = turns;
      if (busy.has(party) || !turn) continue;
      forget(party, turn);
      if (waiting.delete(party)) waiting.set(party, turns);
      busy.add(party);
      turn();
    }
  }

  function forget(party: number, turn: () => void): void {
    const turns = waiting.get(party);
    turns?.delete(turn);
    if (turns?.size === 0) waiting.delete(party);
  }

  function enter(party: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortReason(signal));
      const onAbort = () => {
        forget(party, turn);
        reject(abortReason(signal));
      };
      const turn = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const turns = waiting.get(party);
      if (turns) turns.add(turn);
      else waiting.set(party, new Set([turn]));
      admit();
    });
  }

  function leave(party: number): void {
    busy.delete(party);
    admit();
  }

  return {
    async run(party, work, signal) {
      await enter(party, signal);
      const done = work().finally(() => leave(party));
      return unlessAborted(done, signal);
    },
  };
}
