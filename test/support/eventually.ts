import { setTimeout as delay } from 'node:timers/promises';

/** What a wait is for, and how long it may take. */
export interface Waiting {
  readonly what: string;
  /** Milliseconds; 15 s unless told. */
  readonly timeoutMs?: number;
  /** Gives up at once when this says why waiting has become pointless. */
  readonly hopeless?: () => string | undefined;
}

/**
 * Asks again until `probe` gives something else than undefined or false. A probe that throws counts
 * as not yet, its last error ends up in the message. For real processes, which no fake clock moves.
 */
export async function eventually<T>(
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  { what, timeoutMs = 15_000, hopeless }: Waiting,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (let pauseMs = 10; ; pauseMs = Math.min(pauseMs * 1.5, 100)) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    const reason =
      hopeless?.() ??
      (performance.now() > deadline ? `not within ${(timeoutMs / 1000).toFixed(0)} s` : undefined);
    if (reason !== undefined) throw new Error(`${what}: ${reason}`, { cause: last });
    await delay(pauseMs);
  }
}
