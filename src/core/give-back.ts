import { getHeapStatistics } from 'node:v8';
import { measureMemory } from 'node:vm';
import koffi from 'koffi';
import { sleep, type Clock } from './clock.ts';

const LOOK_EVERY_MS = 5000;
/**
 * Of the event loop, what V8 may take to collect once, and more than what little work amounts to: it
 * was 40 ms with nobody connected and 115 with 5,000 streams, 1,000 silent connections take 190 to 500.
 */
const collectionMs = (heapBytes: number) => 100 + 2e-6 * heapBytes;
/** Twice here and at times once more by itself. */
const COLLECTIONS = 3;

/** What is asked of the process. */
export interface Memory {
  /** What the event loop has done since the last call; 1 is what a collection may take. */
  worked(): number;
  /** Resolves when the garbage there is has been collected. */
  collect(): Promise<unknown>;
  /** Hands the free pages of the C library to the kernel, in 1 to 4 ms. */
  trim(): void;
}

/**
 * Gives memory back when rest follows work. V8 collects as others allocate: what a flood has left would
 * stay until the next one, and the C library keeps even what V8 frees. The returned function ends it.
 */
export function giveBackAtRest(clock: Clock, memory = processMemory()): () => void {
  const ended = new AbortController();
  const pause = () => sleep(clock, LOOK_EVERY_MS, { signal: ended.signal });
  async function look(): Promise<never> {
    await pause();
    // What a start leaves V8 collects by itself.
    memory.worked();
    for (let owes = false; ;) {
      await pause();
      if (memory.worked() >= 1) owes = true;
      else if (owes) {
        // The first one frees what holds sockets and buffers, the second what V8 kept to grow into.
        await memory.collect();
        await memory.collect();
        if (!ended.signal.aborted) memory.trim();
        // Not for what this took itself: it would never end.
        owes = memory.worked() >= COLLECTIONS;
      }
    }
  }
  void look().catch(() => undefined);
  return () => ended.abort();
}

function processMemory(): Memory {
  let since = performance.eventLoopUtilization();
  let mallocTrim: ((pad: number) => unknown) | undefined;
  return {
    worked() {
      const now = performance.eventLoopUtilization();
      const { active } = performance.eventLoopUtilization(now, since);
      since = now;
      return active / collectionMs(getHeapStatistics().used_heap_size);
    },
    // Ten seconds later and in small steps, none above 10 ms; gc() would hold up 5,000 streams for 50.
    collect: () => measureMemory({ mode: 'summary', execution: 'default' }),
    trim() {
      try {
        mallocTrim ??= koffi.load(null).func('int malloc_trim(size_t pad)');
        mallocTrim(0);
      } catch {
        // Another C library than glibc has no such function.
      }
    },
  };
}
