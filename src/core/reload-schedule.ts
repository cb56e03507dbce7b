import type { Clock, Timer } from './clock.ts';

/** When to read files again that are followed: after a burst of changes, one reading at a time. */
export interface ReloadSchedule {
  /** Something has changed. */
  changed: () => void;
  /** Nothing can be noticed: they are read again after a while. */
  blind(): void;
  /** They could not be read, or are not good: the next reading comes by itself, each time later. */
  refused(): void;
  good(): void;
  close(): void;
}

/** Quiet time after a change, so that a burst of writes is one reload. */
const DEBOUNCE_MS = 30;
/** A burst that does not end is read anyway after this. */
const MAX_DEBOUNCE_MS = 1000;
/** How long until files are looked at again where they cannot be watched. */
export const RETRY_MS = 10_000;
/** The most between two readings of files that are not good. */
const MAX_RETRY_MS = 300_000;

/**
 * @param reload must not reject; is told when nothing was noticed since the last reading, which was
 *   refused.
 */
export function createReloadSchedule(
  clock: Clock,
  reload: (retry: boolean) => Promise<void>,
): ReloadSchedule {
  let timer: Timer | undefined;
  let refusals = 0;
  let burstSinceMs: number | undefined;
  let reloading = false;
  let again = false;
  let closed = false;

  function schedule(delayMs: number, retry = false): void {
    timer?.cancel();
    timer = closed ? undefined : clock.after(delayMs, () => void run(retry));
  }

  async function run(retry: boolean): Promise<void> {
    timer = undefined;
    burstSinceMs = undefined;
    again = true;
    if (reloading) return;
    reloading = true;
    for (let first = true; again && !closed; first = false) {
      again = false;
      await reload(retry && first);
    }
    reloading = false;
  }

  return {
    changed() {
      const now = clock.now();
      burstSinceMs ??= now;
      schedule(Math.min(DEBOUNCE_MS, Math.max(burstSinceMs + MAX_DEBOUNCE_MS - now, 0)));
    },
    blind: () => schedule(RETRY_MS),
    refused() {
      const delayMs = Math.min(RETRY_MS * 2 ** refusals, MAX_RETRY_MS);
      refusals = Math.min(refusals + 1, 16);
      // Whatever is to come earlier, or a change that has been noticed, stays.
      if (!timer && !again) schedule(delayMs, true);
    },
    good: () => void (refusals = 0),
    close() {
      closed = true;
      timer?.cancel();
    },
  };
}
