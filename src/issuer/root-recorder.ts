import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { Schedule, Scheduled } from '../core/schedule.ts';
import { formatRootRecord, type RootRecord, type RootRecordStore } from './root-record.ts';

/** Keeps the record of roots as it is in memory; writes only what differs, as that is synced to the disk. */
export interface RootRecorder {
  /** Throws `ERR_DISK`. */
  record(): void;
  /** The same of one that runs: what is not written matters to a restart alone, and is tried again. */
  keep(): void;
}

/** When a record that could not be written is tried again. */
const RETRY_MS = 60_000;

export function createRootRecorder(
  store: RootRecordStore,
  current: () => RootRecord,
  deps: { readonly clock: Clock; readonly log: Logger; readonly schedule: Schedule },
): RootRecorder {
  const { clock, log, schedule } = deps;
  /** What the record holds; undefined when that is not known. */
  let recorded: string | undefined;
  let retry: Scheduled | undefined;

  function record(): void {
    const now = current();
    const text = formatRootRecord(now);
    if (text === recorded) return;
    recorded = undefined;
    store.write(now);
    recorded = text;
  }

  function keep(): void {
    retry?.cancel();
    try {
      record();
    } catch (thrown) {
      log.warn({ err: thrown }, 'the roots of this node could not be recorded');
      retry = schedule.at(clock.now() + RETRY_MS, keep);
    }
  }

  return { record, keep };
}
