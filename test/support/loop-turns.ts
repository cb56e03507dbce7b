import koffi from 'koffi';

/** Linux: the calling thread's own time on a processor. */
const CLOCK_THREAD_CPUTIME_ID = 3;
const clockGettime = koffi
  .load(null)
  .func('int clock_gettime(int clock, void *into)') as unknown as (
  clock: number,
  into: Buffer,
) => number;

function threadMs(into: Buffer): number {
  clockGettime(CLOCK_THREAD_CPUTIME_ID, into);
  return into.readUInt32LE(0) * 1000 + into.readUInt32LE(8) / 1e6;
}

/**
 * Measures how much processor time each turn of this thread's event loop takes, from the call on. Unlike a delay
 * it does not grow when other processes want the machine. The result is in milliseconds, longest first.
 */
export function measureTurns(): { stop(): readonly number[] } {
  const into = Buffer.alloc(16);
  const turns: number[] = [];
  let running = true;
  let last = threadMs(into);
  const turn = () => {
    const now = threadMs(into);
    turns.push(now - last);
    last = now;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  return {
    stop() {
      running = false;
      return turns.sort((a, b) => b - a);
    },
  };
}
