import type { Config } from '../config.ts';
import { libc } from '../core/libc.ts';
import { createLogger, type Logger } from '../core/log.ts';
import { prettyLine } from '../core/pretty-log.ts';
import type { Terminal } from './command.ts';

/**
 * Keeps other processes of this user, and root that was left no capabilities, from this one's memory,
 * open files and mounts, where keys are (PR_SET_DUMPABLE in prctl(2)). No core is dumped either.
 */
export function hideProcess(): void {
  const PR_SET_DUMPABLE = 4;
  libc().prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/** Where whole lines of the log go, in the form that the configuration wants. */
export function lineWriter({ telemetry }: Config, terminal: Terminal): (line: string) => void {
  const pretty = (telemetry.logFormat ?? (terminal.isTTY ? 'pretty' : 'json')) === 'pretty';
  return (line) => terminal.err(pretty ? prettyLine(line) : line);
}

/** The log of a command that stays. */
export function logOf({ telemetry }: Config, write: (line: string) => void): Logger {
  return createLogger({ level: telemetry.logLevel, write });
}

/** Resolves when the user wants it to end. */
export async function untilStopped({ signal }: Pick<Terminal, 'signal'>): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((stop) => signal.addEventListener('abort', () => stop(), { once: true }));
}
