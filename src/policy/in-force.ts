import type { Clock } from '../core/clock.ts';
import type { IdentityError } from '../core/errors.ts';
import { createListeners } from '../core/listeners.ts';
import type { Logger } from '../core/log.ts';
import type { PolicyWarning } from './entry.ts';
import type { LoadedPolicy } from './load-in-thread.ts';
import type { Policy } from './policy.ts';

/** What became of a change of the documents. */
export type ReloadResult = 'applied' | 'unchanged' | 'refused';

/** Times are wall clock in milliseconds. */
export interface PolicyStatus {
  readonly revision: string;
  readonly entries: number;
  /** When the documents were last found good. */
  readonly loadedAtMs: number;
  readonly warnings: readonly PolicyWarning[];
  /** Why the latest change was refused; undefined once the documents are good again. */
  readonly lastError: string | undefined;
  readonly lastErrorAtMs: number | undefined;
}

/** Warnings of one load that are written down each. */
const MAX_LOGGED = 5;

/** The last good policy; says in the log and to its listeners what becomes of each reload. */
export interface PolicyInForce {
  current(): Policy;
  onChange(listener: (policy: Policy) => void): () => void;
  onReload(listener: (result: ReloadResult) => void): () => void;
  status(): PolicyStatus;
  replace(next: LoadedPolicy): void;
  /**
   * Stays with what there is: the documents are not good. After a `retry` only what is new is said:
   * nobody has changed anything.
   */
  keep(error: IdentityError, retry: boolean): void;
}

/** @param first is good, like all that follow. */
export function putInForce(first: LoadedPolicy, clock: Clock, log: Logger): PolicyInForce {
  const onListenerError = (err: unknown): void => log.error({ err }, 'a policy listener failed');
  const changes = createListeners<Policy>(onListenerError);
  const reloads = createListeners<ReloadResult>(onListenerError);
  let loaded = first;
  let loadedAtMs = clock.now();
  let fault: { readonly message: string; readonly atMs: number } | undefined;
  // The line that says the daemon is ready has the number of entries; a start that fails has one error.
  report(log, loaded, 'policy loaded', 'debug');

  return {
    current: () => loaded.policy,
    onChange: (listener) => changes.add(listener),
    onReload: (listener) => reloads.add(listener),
    status: () => ({
      revision: loaded.policy.revision,
      entries: loaded.policy.size,
      loadedAtMs,
      warnings: loaded.warnings,
      lastError: fault?.message,
      lastErrorAtMs: fault?.atMs,
    }),
    replace(next) {
      const same = next.policy.revision === loaded.policy.revision;
      const { revision } = next.policy;
      loaded = next;
      loadedAtMs = clock.now();
      // A change says so itself; what is as before would leave the refusal as the last word.
      if (fault && same) log.info({ revision }, 'the policy is good again, nothing has changed');
      fault = undefined;
      if (same) log.debug({ revision }, 'policy read again, nothing new');
      else reportChange(log, next);
      reloads.emit(same ? 'unchanged' : 'applied');
      if (!same) changes.emit(next.policy);
    },
    keep({ code, message }, retry) {
      if (retry && fault?.message === message) return;
      fault = { message, atMs: clock.now() };
      log.warn(
        { code, reason: message, revision: loaded.policy.revision },
        'policy change refused, the last good policy stays',
      );
      reloads.emit('refused');
    },
  };
}

function reportChange(log: Logger, next: LoadedPolicy): void {
  if (next.policy.size > 0) report(log, next, 'policy reloaded', 'info');
  else report(log, next, 'no policy entry is left: nobody gets an identity', 'warn');
}

function report(
  log: Logger,
  { policy, warnings }: LoadedPolicy,
  message: string,
  level: 'debug' | 'info' | 'warn',
): void {
  log[level]({ revision: policy.revision, entries: policy.size }, message);
  for (const { file, line, message: detail } of warnings.slice(0, MAX_LOGGED)) {
    log.warn({ path: `${file}:${line}`, detail }, 'policy warning');
  }
  const more = warnings.length - MAX_LOGGED;
  if (more > 0) log.warn({ detail: `${more} more, see credence check` }, 'policy warnings');
}
