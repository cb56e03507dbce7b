import { sleep, type Clock } from './clock.ts';
import type { LogFields, Logger } from './log.ts';

/** Readiness as a set of named reasons to wait; ready when none is left. */
export interface Readiness {
  /** Adds a reason; the returned function takes it away. */
  block(reason: string): () => void;
  reasons(): readonly string[];
}

export function createReadiness(): Readiness {
  const blocks = new Map<symbol, string>();
  return {
    block(reason) {
      const key = Symbol(reason);
      blocks.set(key, reason);
      return () => void blocks.delete(key);
    },
    reasons: () => [...blocks.values()],
  };
}

const LOOK_MS = 1000;

/** Says that all is ready; until it is so, why not, once. Rejects with the signal's reason. */
export async function announceReady(
  reasons: () => readonly string[],
  fields: LogFields,
  { clock, log, signal }: { clock: Clock; log: Logger; signal: AbortSignal },
): Promise<void> {
  const first = reasons();
  if (first.length > 0) {
    log.warn({ ...fields, reason: first.join(', ') }, 'credence has started and is not ready yet');
  }
  while (reasons().length > 0) await sleep(clock, LOOK_MS, { signal });
  log.info(fields, 'credence is ready');
}
