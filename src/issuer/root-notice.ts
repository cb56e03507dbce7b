import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { Schedule } from '../core/schedule.ts';
import { isoTime } from './authority.ts';
import type { CaCertificate } from './ca-certificate.ts';

const DAY_MS = 86_400_000;
/** The root's end is announced from here on, or from the last sixth of a shorter life. */
const NOTICE_MS = 30 * DAY_MS;

/** Says in the log, early and then daily, that the root ends, which nobody but people can mend. */
export function announceRootEnd(
  root: CaCertificate,
  { clock, schedule, log }: { clock: Clock; schedule: Schedule; log: Logger },
): void {
  const { notBeforeMs, notAfterMs } = root.validity;
  const noticeMs = notAfterMs - Math.min(NOTICE_MS, (notAfterMs - notBeforeMs) / 6);
  look();

  function look(): void {
    const now = clock.now();
    if (now >= noticeMs) {
      const fields = { not_after: isoTime(notAfterMs), detail: root.subjectText };
      if (now < notAfterMs) log.warn(fields, 'the root ends soon, and nothing is valid after it');
      else log.error(fields, 'the root has expired, nothing can be signed');
    }
    const next = now < noticeMs ? noticeMs : now + DAY_MS;
    // At the end itself once more, then daily.
    schedule.at(now < notAfterMs ? Math.min(next, notAfterMs) : next, look);
  }
}
