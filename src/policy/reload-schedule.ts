import type { Clock, Timer } from '../core/clock.ts';

/** When to read the documents again: after a burst of changes, one reading at a time. */
export interface ReloadSchedule {
  /** Something has changed. */
  changed: () => void;
  /** Nothing can be noticed: the documents are read again after a while. */
  blind(): void;
  close(): void;
}

/** Quiet time after a change, so that a burst of writes is one reload. */
const DEBOUNCE_MS = 30;
/** A burst that does not end is read anyway after this. */
const MAX_DEBOUNCE_MS = 1000;
/** How long until the documents are looked at again where they cannot be watched. */
export const RETRY_MS = 10_000;

/** @param reload must not reject. */
export function createReloadSchedule(clock: Clock, reload: () => Promise<void>): ReloadSchedule {
  let timer: Timer | undefined;
  let burstSinceMs: number | undefined;
  let reloading = false;
  let again = false;
  let closed = false;

  function schedule(delayMs: number): void {
    timer?.cancel();
    timer = closed ? undefined : clock.after(delayMs, () => void run());
  }

  async function run(): Promise<void> {
    burstSinceMs = undefined;
    again = true;
    if (reloading) return;
    reloading = true;
    while (again && !closed) {
      again = false;
      await reload();
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
    close() {
      closed = true;
      timer?.cancel();
    },
  };
}
