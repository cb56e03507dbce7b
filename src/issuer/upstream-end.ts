import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { Schedule, Scheduled } from '../core/schedule.ts';
import { isoTime, type Authority } from './authority.ts';

/** Lifetimes of an SVID that a CA should have left: below that SVIDs are cut short soon. */
export const FEW_LIFETIMES = 3;
const HOUR_MS = 3_600_000;
/** Somebody else has to be asked for the next one: a month before, or a sixth of what lives shorter. */
const NOTICE = { mostMs: 30 * 24 * HOUR_MS, share: 1 / 6 };

/** Says in the log, early and then hourly, that a CA ends which somebody else has to replace. */
export interface EndNotice {
  /** From now on of this one. */
  of(authority: Authority): void;
}

export function createEndNotice(
  svidTtlMs: number,
  { clock, log, schedule }: { clock: Clock; log: Logger; schedule: Schedule },
): EndNotice {
  let planned: Scheduled | undefined;

  function look(authority: Authority): void {
    const { certificate, validity } = authority;
    const nowMs = clock.now();
    const { notBeforeMs, notAfterMs } = validity;
    const earlyMs = Math.min(NOTICE.mostMs, NOTICE.share * (notAfterMs - notBeforeMs));
    const noticeMs = notAfterMs - Math.max(earlyMs, FEW_LIFETIMES * svidTtlMs);
    const fields = { not_after: isoTime(notAfterMs), detail: certificate.subjectText };
    if (nowMs >= notAfterMs) log.error(fields, 'the issuing CA has expired, nothing can be signed');
    else if (nowMs >= noticeMs) log.warn(fields, 'the issuing CA ends soon, and SVIDs before it');
    const next = nowMs < noticeMs ? noticeMs : nowMs + HOUR_MS;
    // At the end itself once more, then hourly.
    const dueMs = nowMs < notAfterMs ? Math.min(next, notAfterMs) : next;
    planned = schedule.at(dueMs, () => look(authority));
  }

  return {
    of(authority) {
      planned?.cancel();
      look(authority);
    },
  };
}
