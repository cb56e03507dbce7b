import { BEGINNING, RECORD_VERSION } from './chain.ts';
import type { Sink } from './sink.ts';

/**
 * Records as lines of the log, whatever its level, and a new chain with each start: what became of the
 * lines of the one before only who collects them knows.
 */
export function createLogSink(write: (line: string) => void): Sink {
  return {
    head: BEGINNING,
    open: ({ seq, time, event }) =>
      `{"level":"info","time":"${time}","component":"audit","msg":"audit record",` +
      `"v":${RECORD_VERSION},"seq":${seq},"event":"${event}"`,
    look: () => undefined,
    append: (line) => write(line),
    close: () => undefined,
  };
}
