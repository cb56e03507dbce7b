import type { Clock, Timer } from '../core/clock.ts';
import type { SdsConfig } from './context.ts';
import type { Unserved } from './resolve.ts';

/** What a caller waits for, and the error that ends it when it waited in vain. */
export interface Wait {
  readonly code: 'ERR_NOT_READY' | 'ERR_DENIED';
  readonly names: readonly Unserved[];
}

/** How long one caller waits: `sds.pending_timeout` since the last progress, or `sds.denied_park`. */
export class Patience {
  readonly #clock: Clock;
  readonly #limitsMs: Readonly<Record<Wait['code'], number>>;
  readonly #expired: (wait: Wait) => void;
  #current: { readonly wait: Wait; readonly timer: Timer } | undefined;

  /** `expired` is called with what was waited for in vain; nothing is waited for any more then. */
  constructor(
    clock: Clock,
    { pendingTimeoutMs, deniedParkMs }: Pick<SdsConfig, 'pendingTimeoutMs' | 'deniedParkMs'>,
    expired: (wait: Wait) => void,
  ) {
    this.#clock = clock;
    this.#limitsMs = { ERR_NOT_READY: pendingTimeoutMs, ERR_DENIED: deniedParkMs };
    this.#expired = expired;
  }

  /** Why each name is waited for. */
  get reasons(): readonly string[] {
    return this.#current?.wait.names.map(({ reason }) => reason) ?? [];
  }

  /** Whether a name is waited for that a policy entry is missing for. */
  denies(name: string): boolean {
    const wait = this.#current?.wait;
    return wait?.code === 'ERR_DENIED' && wait.names.some((one) => one.name === name);
  }

  /** Says what is waited for from now on; undefined: nothing. */
  wait(wait: Wait | undefined): void {
    const before = this.#current;
    if (before && wait && !startsAnew(before.wait, wait)) {
      this.#current = { wait, timer: before.timer };
      return;
    }
    before?.timer.cancel();
    this.#current = wait && {
      wait,
      timer: this.#clock.after(this.#limitsMs[wait.code], () => this.#expire()),
    };
  }

  #expire(): void {
    const { wait } = this.#current ?? {};
    this.#current = undefined;
    if (wait) this.#expired(wait);
  }
}

/**
 * Whether the time counts from now: for something else, or because a name is not waited for any
 * more. Many keys are made one by one, each within the limit, all of them not. A parked stream has
 * its time once: nobody works on what it waits for.
 */
function startsAnew(before: Wait, next: Wait): boolean {
  if (before.code !== next.code) return true;
  if (next.code === 'ERR_DENIED') return false;
  const still = new Set(next.names.map(({ name }) => name));
  return before.names.some(({ name }) => !still.has(name));
}
