import { pino } from 'pino';
import { errorText } from './errors.ts';

/** Fields every log line may carry; one spelling for all, so that a query finds them. */
export type LogFields = Readonly<
  Partial<{
    component: string;
    spiffe_id: string;
    trust_domain: string;
    peer_pid: number;
    peer_uid: number;
    peer_gid: number;
    selectors: readonly string[];
    gained: readonly string[];
    lost: readonly string[];
    serial: string;
    /** A Date becomes text only in a line that is written. */
    not_after: string | Date;
    refresh_at: Date;
    attempt: number;
    retry_in_ms: number;
    resource_names: readonly string[];
    version_info: string;
    nonce: string;
    code: string;
    reason: string;
    detail: string;
    path: string;
    count: number;
    duration_ms: number;
    entries: number;
    revision: string;
    version: string;
    node_id: string;
    envoy_version: string;
    err: unknown;
  }>
>;

/**
 * debug: it worked. info: something was refused or put off, nothing is lost. warn: a workload has
 * nothing valid, or an operator's change was refused. error: Credence itself is hurt.
 */
export interface Logger {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  child(fields: LogFields): Logger;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** JSON lines on stderr; errors are reduced to message, code and stack of the chain of causes. */
export function createLogger(options: { level: LogLevel; write: (line: string) => void }): Logger {
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'msg',
      serializers: { err: (thrown: unknown) => describeError(thrown) },
    },
    { write: options.write },
  );
}

/** An error may be its own cause. */
const MAX_CAUSES = 8;

function describeError(thrown: unknown, depth = 0): unknown {
  if (!(thrown instanceof Error)) return { message: errorText(thrown) };
  const code = 'code' in thrown ? { code: thrown.code } : {};
  const deeper = thrown.cause !== undefined && depth < MAX_CAUSES;
  const cause = deeper ? { cause: describeError(thrown.cause, depth + 1) } : {};
  return { message: thrown.message, ...code, stack: thrown.stack, ...cause };
}

/** A logger that keeps nothing; for commands and tests. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
