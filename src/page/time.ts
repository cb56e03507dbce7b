import { formatDuration } from '../core/duration.ts';

/** The browser's timers and clock, in the one file of the page that may use them. */
export const SECOND_MS = 1000;

/** Milliseconds since the page was opened; goes on when somebody sets the machine's clock. */
export const monotonic = (): number => performance.now();

/** Resolves after `ms`, and as soon as the page is seen again if it was hidden meanwhile. */
export async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  if (!document.hidden) return;
  await new Promise((resolve) =>
    document.addEventListener('visibilitychange', resolve, { once: true }),
  );
}

/** Calls `fn` each second while somebody can see the page. */
export function everySecond(fn: () => void): void {
  setInterval(() => {
    if (!document.hidden) fn();
  }, SECOND_MS);
}

/** A length of time in whole seconds, as in `4m 12s`; nothing below zero. */
export function span(ms: number): string {
  const whole = Math.floor(Math.max(ms, 0) / SECOND_MS) * SECOND_MS;
  return whole === 0 ? '0s' : formatDuration(whole);
}

/** A moment, by the wall clock of whoever reads the page. */
export function wallTime(ms: number): string {
  return new Date(ms).toLocaleTimeString();
}
