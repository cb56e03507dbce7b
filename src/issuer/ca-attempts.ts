import { backoffDelay, isPutOff } from '../core/backoff.ts';
import type { Clock } from '../core/clock.ts';
import type { IdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { isoTime } from './authority.ts';

const RETRY = { baseMs: 1000, maxMs: 300_000 };
/** While nothing can be signed, or soon: a try costs little, every minute costs workloads. */
const URGENT_MS = 5000;
/** While nothing can be signed the log says so this often. */
const SAY_MS = 60_000;

/** What the last attempt came to; times wall clock. */
export interface Failure {
  readonly error: IdentityError;
  readonly atMs: number;
  readonly retryAtMs: number;
}

/**
 * Attempts at what is due, one of a kind. After a failure the next one waits, longer each time, yet no
 * longer than fits into what is left of the CA that signs.
 */
export class Attempts {
  readonly #deps: { readonly clock: Clock; readonly random: Random; readonly log: Logger };
  #failure: Failure | undefined;
  #count = 0;
  #saidLeftMs = Infinity;
  #saidAtMs = -Infinity;

  constructor(deps: { readonly clock: Clock; readonly random: Random; readonly log: Logger }) {
    this.#deps = deps;
  }

  failure(): Failure | undefined {
    return this.#failure;
  }

  /** Before when nothing is to be tried; far back when anything may be. */
  notBeforeMs(): number {
    const at = this.#failure?.retryAtMs ?? -Infinity;
    return isPutOff(at, this.#deps.clock.now(), RETRY) ? at : -Infinity;
  }

  succeeded(): void {
    if (this.#failure)
      this.#deps.log.info({ attempt: this.#count }, 'authorities can be made again');
    this.#failure = undefined;
    this.#count = 0;
    this.#saidLeftMs = Infinity;
    this.#saidAtMs = -Infinity;
  }

  /** `endMs`: until when something can be signed; undefined while nothing can be. */
  failed(error: IdentityError, endMs: number | undefined): void {
    const { clock, random } = this.#deps;
    const nowMs = clock.now();
    const leftMs = endMs === undefined ? 0 : Math.max(endMs - nowMs, 0);
    const maxMs = Math.min(RETRY.maxMs, Math.max(URGENT_MS, leftMs / 10));
    const delayMs = backoffDelay(this.#count++, { ...RETRY, maxMs }, random);
    // Once more when it ends, however long the delay has grown.
    const untilMs = Math.min(delayMs, leftMs + backoffDelay(0, RETRY, random));
    const isNews = error.message !== this.#failure?.error.message;
    this.#failure = { error, atMs: nowMs, retryAtMs: nowMs + (leftMs > 0 ? untilMs : delayMs) };
    this.#say(error, endMs === undefined ? undefined : leftMs, isNews);
  }

  /** At the first failure and whenever half of what was left is gone; over and over when it is over. */
  #say(error: IdentityError, leftMs: number | undefined, isNews: boolean): void {
    const { clock, log } = this.#deps;
    const nowMs = clock.now();
    const fields = {
      ...{ err: error, code: error.code, attempt: this.#count },
      retry_in_ms: Math.round((this.#failure?.retryAtMs ?? nowMs) - nowMs),
    };
    if (leftMs === undefined) {
      if (!isNews && nowMs >= this.#saidAtMs && nowMs < this.#saidAtMs + SAY_MS) return;
      this.#saidAtMs = nowMs;
      log.error(fields, 'there is no valid issuing CA and none could be made');
    } else if (isNews || leftMs <= this.#saidLeftMs / 2) {
      this.#saidLeftMs = leftMs;
      const end = { not_after: isoTime(nowMs + leftMs) };
      log.warn({ ...fields, ...end }, 'the issuing CA could not be replaced, the old one is valid');
    } else {
      log.debug(fields, 'the issuing CA could still not be replaced');
    }
  }
}
