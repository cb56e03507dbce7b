import type { Clock } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { createListeners } from '../core/listeners.ts';
import type { Logger } from '../core/log.ts';
import type { PolicyWarning } from './entry.ts';
import { areSmall, type Documents } from './files.ts';
import { loadInThread, type LoadedPolicy } from './load-in-thread.ts';
import { loadPolicy, type PolicySources } from './load.ts';
import { compilePolicy, type Policy } from './policy.ts';
import { createReloadSchedule, RETRY_MS } from './reload-schedule.ts';
import { watchPaths, type OpenWatch } from './watch.ts';

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

/** The policy in force; follows its documents until closed. */
export interface PolicyStore {
  current(): Policy;
  /** Called with each policy that says something else than the one before. Returns a remover. */
  onChange(listener: (policy: Policy) => void): () => void;
  /** Called after every reload, whatever came of it. Returns a remover. */
  onReload(listener: (result: ReloadResult) => void): () => void;
  status(): PolicyStatus;
  close(): void;
}

export interface PolicyStoreDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: the kernel's file notifications. */
  readonly watch?: OpenWatch;
}

/** Up to this the full parser takes under 10 ms of the event loop, and a thread would not be quicker. */
const SMALL = { files: 64, bytes: 16 * 1024 };

/**
 * Loads the policy and follows its documents: a change takes effect as a whole or, refused with a
 * warning, not at all. Rejects with `ERR_POLICY` when the first load is not good. That one is done
 * at once, on this thread: nobody waits for the event loop yet.
 */
export function createPolicyStore(
  sources: PolicySources,
  deps: PolicyStoreDeps,
): Promise<PolicyStore> {
  return new Promise((resolve) => resolve(openStore(sources, deps)));
}

function openStore(sources: PolicySources, deps: PolicyStoreDeps): PolicyStore {
  const { clock } = deps;
  const log = deps.log.child({ component: 'policy' });
  const onListenerError = (err: unknown): void => log.error({ err }, 'a policy listener failed');
  const changes = createListeners<Policy>(onListenerError);
  const reloads = createListeners<ReloadResult>(onListenerError);
  const closing = new AbortController();
  let fault: { readonly message: string; readonly atMs: number } | undefined;

  const schedule = createReloadSchedule(clock, reload);
  const watch = (deps.watch ?? watchPaths)(sources.paths, schedule.changed, (err) => {
    log.warn({ err, retry_in_ms: RETRY_MS }, 'the policy cannot be watched');
    schedule.blind();
  });
  let loaded: LoadedPolicy;
  try {
    // Watched before it is read: what changes in between is seen.
    loaded = loadHere(sources, watch.rearm());
  } catch (thrown) {
    close();
    throw thrown;
  }
  let loadedAtMs = clock.now();
  // The line that says the daemon is ready has the number of entries; a start that fails has one error.
  report(loaded, 'policy loaded', 'debug');

  async function reload(): Promise<void> {
    try {
      const listed = watch.rearm();
      const next = areSmall(listed, SMALL)
        ? loadHere(sources, listed)
        : await loadInThread(sources, closing);
      if (!closing.signal.aborted) take(next);
    } catch (thrown) {
      if (!closing.signal.aborted) refuse(toIdentityError(thrown, 'ERR_POLICY'));
    }
  }

  function take(next: LoadedPolicy): void {
    const same = next.policy.revision === loaded.policy.revision;
    loaded = next;
    loadedAtMs = clock.now();
    fault = undefined;
    if (same) log.debug({ revision: next.policy.revision }, 'policy read again, nothing new');
    else if (next.policy.size === 0)
      report(next, 'no policy entry is left: nobody gets an identity', 'warn');
    else report(next, 'policy reloaded', 'info');
    reloads.emit(same ? 'unchanged' : 'applied');
    if (!same) changes.emit(next.policy);
  }

  function refuse(error: IdentityError): void {
    fault = { message: error.message, atMs: clock.now() };
    log.warn(
      { code: error.code, reason: error.message, revision: loaded.policy.revision },
      'policy change refused, the last good policy stays',
    );
    reloads.emit('refused');
  }

  function report(
    { policy, warnings }: LoadedPolicy,
    message: string,
    level: 'debug' | 'info' | 'warn',
  ): void {
    log[level]({ revision: policy.revision, entries: policy.size }, message);
    for (const { file, line, message: detail } of warnings) {
      log.warn({ path: `${file}:${line}`, detail }, 'policy warning');
    }
  }

  function close(): void {
    closing.abort(new IdentityError('ERR_SHUTDOWN', 'the policy store is closed'));
    schedule.close();
    watch.close();
  }

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
    close,
  };
}

function loadHere(sources: PolicySources, listed: readonly Documents[]): LoadedPolicy {
  const { entries, warnings } = loadPolicy(sources, listed);
  return { policy: compilePolicy(entries), warnings };
}
