/** A cancelled or fired timer; `cancel` may be called any number of times. */
export interface Timer {
  cancel(): void;
}

/** Time as the daemon sees it. Wall time in milliseconds since the epoch; delays in milliseconds. */
export interface Clock {
  now(): number;
  /** Milliseconds with fractions since some moment, which nobody can set: for measuring. */
  monotonic(): number;
  /** Calls `fn` once after `delayMs`, of any length; a timer never keeps the process alive. */
  after(delayMs: number, fn: () => void): Timer;
}

/** What `setTimeout` can count (24.8 days); anything longer it would take for 1 ms. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** The machine's clock: the only place that reads the time or sets a timer. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, fn) {
    let timer: NodeJS.Timeout;
    const wait = (leftMs: number) => {
      const stepMs = Math.min(Math.max(leftMs, 0), MAX_DELAY_MS);
      timer = setTimeout(() => (leftMs > stepMs ? wait(leftMs - stepMs) : fn()), stepMs);
      timer.unref();
    };
    wait(delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Resolves after `delayMs`, rejects with the signal's reason as soon as it is aborted. */
export function sleep(
  clock: Clock,
  delayMs: number,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(abortReason(signal));
    const onAbort = () => {
      timer.cancel();
      if (signal) reject(abortReason(signal));
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/**
 * Settles like the promise, or rejects with the signal's reason when that comes first; the work
 * behind the promise goes on. Who passes one signal to many callers lifts its limit of listeners.
 */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(abortReason(signal));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    const forget = () => signal.removeEventListener('abort', onAbort);
    // An aborted caller has gone: what becomes of the work then is not an unhandled rejection.
    void promise.then(resolve, reject).finally(forget);
  });
}

/** An aborted signal's reason as an Error. */
export function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('aborted');
}
