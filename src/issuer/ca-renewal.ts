import { backoffDelay, isPutOff } from '../core/backoff.ts';
import { abortReason, unlessAborted } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { createSchedule, type Scheduled } from '../core/schedule.ts';
import {
  isoTime,
  isValidAt,
  type Authorities,
  type AuthoritiesDeps,
  type Authority,
} from './authorities.ts';
import type { Validity } from './profile.ts';

const RETRY = { baseMs: 1000, maxMs: 300_000 };
const DAY_MS = 86_400_000;
/** The root's end is announced from here on, or from the last sixth of a shorter life. */
const ROOT_NOTICE_MS = 30 * DAY_MS;

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
  const { clock, random, log } = deps;
  const lifetime = new AbortController();
  const schedule = createSchedule(clock);
  const root = authorities.root.certificate;
  let planned: Scheduled | undefined;
  let running: Promise<Authority> | undefined;
  let failure: { readonly error: IdentityError; readonly retryAtMs: number } | undefined;
  let attempt = 0;

  function current(): Authority | undefined {
    const issuing = authorities.issuing();
    return issuing && isValidAt(issuing.certificate.validity, clock.now()) ? issuing : undefined;
  }

  /** One replacement at a time, for however many wait; after a failure not before its time. */
  function replace(): Promise<Authority> {
    if (lifetime.signal.aborted) return Promise.reject(abortReason(lifetime.signal));
    if (failure && isPutOff(failure.retryAtMs, clock.now(), RETRY)) {
      return Promise.reject(failure.error);
    }
    running ??= replaceOnce().finally(() => (running = undefined));
    return running;
  }

  async function replaceOnce(): Promise<Authority> {
    try {
      const issuing = await authorities.replaceIssuing({ signal: lifetime.signal });
      attempt = 0;
      failure = undefined;
      plan();
      return issuing;
    } catch (thrown) {
      if (lifetime.signal.aborted) throw abortReason(lifetime.signal);
      throw putOff(toIdentityError(thrown, 'ERR_ISSUER'));
    }
  }

  function putOff(error: IdentityError): IdentityError {
    const delayMs = backoffDelay(attempt++, RETRY, random);
    const retryAtMs = clock.now() + delayMs;
    failure = { error, retryAtMs };
    renewAt(retryAtMs);
    const fields = { err: error, code: error.code, attempt, retry_in_ms: Math.round(delayMs) };
    if (current()) log.warn(fields, 'the issuing CA could not be replaced, the old one is valid');
    else log.error(fields, 'there is no valid issuing CA and none could be made');
    return error;
  }

  function plan(): void {
    const issuing = authorities.issuing()?.certificate.validity;
    const due = issuing && renewalTime(issuing, root.validity, caTtlMs);
    if (due !== undefined) renewAt(due);
  }

  function renewAt(dueMs: number): void {
    planned?.cancel();
    // A failure has been logged and put off already.
    planned = schedule.at(dueMs, () => void replace().catch(() => undefined));
  }

  function watchRoot(): void {
    const { notBeforeMs, notAfterMs } = root.validity;
    const noticeMs = Math.min(ROOT_NOTICE_MS, (notAfterMs - notBeforeMs) / 6);
    const now = clock.now();
    if (now >= notAfterMs - noticeMs) {
      const fields = { not_after: isoTime(notAfterMs), detail: root.subjectText };
      if (now < notAfterMs) log.warn(fields, 'the root ends soon, and nothing is valid after it');
      else log.error(fields, 'the root has expired, nothing can be signed');
    }
    const next = now < notAfterMs - noticeMs ? notAfterMs - noticeMs : now + DAY_MS;
    // At the end itself once more, then daily.
    schedule.at(now < notAfterMs ? Math.min(next, notAfterMs) : next, watchRoot);
  }

  plan();
  watchRoot();

  return {
    current,
    async usable({ signal }) {
      return current() ?? (await unlessAborted(replace(), signal));
    },
    close() {
      lifetime.abort(new IdentityError('ERR_SHUTDOWN', 'the issuer is closed'));
      schedule.close();
    },
  };
}
