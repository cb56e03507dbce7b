import { backoffDelay, isPutOff } from '../core/backoff.ts';
import { abortReason, unlessAborted } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { createSchedule, type Schedule, type Scheduled } from '../core/schedule.ts';
import type { Authorities, AuthoritiesDeps } from './authorities.ts';
import { isValidAt, type Authority } from './authority.ts';
import type { Validity } from './profile.ts';
import { announceRootEnd } from './root-notice.ts';

const RETRY = { baseMs: 1000, maxMs: 300_000 };
/** While nothing can be signed: a try costs a key and a write, every minute costs workloads. */
const URGENT_RETRY = { ...RETRY, maxMs: 5000 };

/** Sees to it that there is an issuing CA to sign with, for as long as the root lives. */
export interface CaRenewal {
  /** The issuing CA, if it is valid now. */
  current(): Authority | undefined;
  /** The same, after waiting for a replacement when there is none. `ERR_ISSUER` when none can be made. */
  usable(options: { signal?: AbortSignal }): Promise<Authority>;
  close(): void;
}

/**
 * When the issuing CA is to be replaced: half-way through its life. Undefined when a new one would
 * not live longer, because the root ends first; otherwise lives would halve without end.
 */
export function renewalTime(
  issuing: Validity,
  root: Validity,
  caTtlMs: number,
): number | undefined {
  const half = issuing.notBeforeMs + (issuing.notAfterMs - issuing.notBeforeMs) / 2;
  return Math.min(half + caTtlMs, root.notAfterMs) > issuing.notAfterMs ? half : undefined;
}

export function createCaRenewal(
  authorities: Authorities,
  caTtlMs: number,
  deps: AuthoritiesDeps,
): CaRenewal {
  return new ScheduledRenewal(authorities, caTtlMs, deps);
}

class ScheduledRenewal implements CaRenewal {
  readonly #authorities: Authorities;
  readonly #caTtlMs: number;
  readonly #deps: AuthoritiesDeps;
  readonly #lifetime = new AbortController();
  readonly #schedule: Schedule;
  #planned: Scheduled | undefined;
  #running: Promise<Authority> | undefined;
  #failure: { readonly error: IdentityError; readonly retryAtMs: number } | undefined;
  #attempt = 0;

  constructor(authorities: Authorities, caTtlMs: number, deps: AuthoritiesDeps) {
    this.#authorities = authorities;
    this.#caTtlMs = caTtlMs;
    this.#deps = deps;
    this.#schedule = createSchedule(deps.clock);
    this.#plan();
    announceRootEnd(authorities.root.certificate, { ...deps, schedule: this.#schedule });
  }

  current(): Authority | undefined {
    const issuing = this.#authorities.issuing();
    const now = this.#deps.clock.now();
    return issuing && isValidAt(issuing.certificate.validity, now) ? issuing : undefined;
  }

  async usable({ signal }: { signal?: AbortSignal }): Promise<Authority> {
    return this.current() ?? (await unlessAborted(this.#replace(), signal));
  }

  close(): void {
    this.#lifetime.abort(new IdentityError('ERR_SHUTDOWN', 'the issuer is closed'));
    this.#schedule.close();
  }

  /** One replacement at a time, for however many wait; after a failure not before its time. */
  #replace(): Promise<Authority> {
    const { signal } = this.#lifetime;
    if (signal.aborted) return Promise.reject(abortReason(signal));
    if (this.#failure && isPutOff(this.#failure.retryAtMs, this.#deps.clock.now(), RETRY)) {
      return Promise.reject(this.#failure.error);
    }
    this.#running ??= this.#replaceOnce().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #replaceOnce(): Promise<Authority> {
    const { signal } = this.#lifetime;
    try {
      const issuing = await this.#authorities.replaceIssuing({ signal });
      this.#attempt = 0;
      this.#failure = undefined;
      this.#plan();
      return issuing;
    } catch (thrown) {
      if (signal.aborted) throw abortReason(signal);
      throw this.#putOff(toIdentityError(thrown, 'ERR_ISSUER'));
    }
  }

  #putOff(error: IdentityError): IdentityError {
    const { clock, log } = this.#deps;
    const nowMs = clock.now();
    const delayMs = this.#retryDelay(nowMs, this.#attempt++);
    const retryAtMs = nowMs + delayMs;
    this.#failure = { error, retryAtMs };
    this.#renewAt(retryAtMs);
    const retry = { attempt: this.#attempt, retry_in_ms: Math.round(delayMs) };
    const fields = { err: error, code: error.code, ...retry };
    if (this.current()) {
      log.warn(fields, 'the issuing CA could not be replaced, the old one is valid');
    } else log.error(fields, 'there is no valid issuing CA and none could be made');
    return error;
  }

  /** Grows until the old one ends, and is short from then on; a root that has ended cannot be waited for. */
  #retryDelay(nowMs: number, attempt: number): number {
    const { random } = this.#deps;
    const delayMs = backoffDelay(attempt, RETRY, random);
    if (!isValidAt(this.#authorities.root.certificate.validity, nowMs)) return delayMs;
    const current = this.current();
    const leftMs = current ? current.certificate.validity.notAfterMs - nowMs : 0;
    return Math.min(delayMs, leftMs + backoffDelay(attempt, URGENT_RETRY, random));
  }

  #plan(): void {
    const root = this.#authorities.root.certificate.validity;
    const issuing = this.#authorities.issuing()?.certificate.validity;
    const due = issuing && renewalTime(issuing, root, this.#caTtlMs);
    if (due !== undefined) this.#renewAt(due);
  }

  #renewAt(dueMs: number): void {
    this.#planned?.cancel();
    // A failure has been logged and put off already.
    this.#planned = this.#schedule.at(dueMs, () => void this.#replace().catch(() => undefined));
  }
}
