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
  const queue = createTurnQueue();
  const busy = new Set<number>();

  function admit(): void {
    while (busy.size < places) {
      const next = queue.take(busy);
      if (!next) return;
      busy.add(next.party);
      next.turn();
    }
  }

  return {
    async run(party, work, signal) {
      const turn = queue.wait(party, signal);
      admit();
      await turn;
      // Also when it throws before it has promised anything.
      const done = (async () => work())().finally(() => {
        busy.delete(party);
        admit();
      });
      return unlessAborted(done, signal);
    },
  };
}

/** Who waits, party by party, both in the order of coming. */
function createTurnQueue() {
  const waiting = new Map<number, Set<() => void>>();

  function forget(party: number, turn: () => void): void {
    const turns = waiting.get(party);
    turns?.delete(turn);
    if (turns?.size === 0) waiting.delete(party);
  }

  return {
    /** Resolves when its turn is taken. */
    wait: (party: number, signal: AbortSignal): Promise<void> =>
      new Promise((resolve, reject) => {
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
      }),
    /** The next turn of the first party that is not among these; that party goes to the end. */
    take(busy: ReadonlySet<number>): { party: number; turn: () => void } | undefined {
      for (const [party, turns] of waiting) {
        const [turn] = turns;
        if (busy.has(party) || !turn) continue;
        forget(party, turn);
        if (waiting.delete(party)) waiting.set(party, turns);
        return { party, turn };
      }
      return undefined;
    },
  };
}
