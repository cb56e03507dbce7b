import { isPutOff } from '../core/backoff.ts';

/** Refused versions that are remembered for a name. */
const MAX_REFUSED = 16;
/** How long after a refused content another one is tried; doubled with each in a row. */
const RETRY = { baseMs: 1000, maxMs: 60_000 };

/** What a proxy has refused under one name; outlives that the name is watched. */
export class RefusalHistory {
  /** All versions it refused; never sent again. */
  readonly #versions = new Set<string>();
  #inARow = 0;
  /** When the last of them was sent, wall clock in milliseconds. */
  #lastSentAtMs = 0;
  /** Version that it refused and has not replaced by another since, with its words. */
  latest: { readonly version: string; readonly text: string } | undefined;

  has(version: string): boolean {
    return this.#versions.has(version);
  }

  /** How many are remembered. */
  get size(): number {
    return this.#versions.size;
  }

  refused(version: string, text: string, sentAtMs: number): void {
    this.latest = { version, text };
    this.#inARow++;
    this.#lastSentAtMs = sentAtMs;
    this.#versions.add(version);
    if (this.#versions.size <= MAX_REFUSED) return;
    const [oldest = version] = this.#versions;
    this.#versions.delete(oldest);
  }

  accepted(): void {
    this.latest = undefined;
    this.#inARow = 0;
  }

  /** How long another content is still to be kept back; 0: not at all. */
  restMs(nowMs: number): number {
    if (this.#inARow === 0) return 0;
    const pauseMs = Math.min(RETRY.baseMs * 2 ** (this.#inARow - 1), RETRY.maxMs);
    const retryAtMs = this.#lastSentAtMs + pauseMs;
    return isPutOff(retryAtMs, nowMs, RETRY) ? retryAtMs - nowMs : 0;
  }
}
