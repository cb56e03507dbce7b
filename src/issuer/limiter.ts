import { abortReason } from '../core/clock.ts';

/** Lets a few tasks run at once; the others wait in order. */
interface Limiter {
  /** Runs `task` when it is its turn; a signal takes it out of the queue, not out of its run. */
  run<T>(task: () => Promise<T>, options: { signal?: AbortSignal }): Promise<T>;
}

export function createLimiter(most: number): Limiter {
  const waiting = new Set<() => void>();
  let running = 0;

  function turn({ signal }: { signal?: AbortSignal }): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(abortReason(signal));
      const go = () => {
        signal?.removeEventListener('abort', onAbort);
        waiting.delete(go);
        running++;
        resolve();
      };
      const onAbort = () => {
        waiting.delete(go);
        if (signal) reject(abortReason(signal));
      };
      if (running < most) return go();
      waiting.add(go);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  return {
    async run(task, options) {
      await turn(options);
      try {
        return await task();
      } finally {
        running--;
        const next = waiting.values().next();
        if (!next.done) next.value();
      }
    },
  };
}
