import type { Clock } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { createReloadSchedule, RETRY_MS } from '../core/reload-schedule.ts';
import { areSmall, type Documents } from './files.ts';
import {
  putInForce,
  type PolicyInForce,
  type PolicyStatus,
  type ReloadResult,
} from './in-force.ts';
import { loadInThread, type LoadedPolicy } from './load-in-thread.ts';
import { loadPolicy, type PolicySources } from './load.ts';
import { compilePolicy, type Policy } from './policy.ts';
import { watchPaths, type OpenWatch } from './watch.ts';

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
  const closing = new AbortController();
  const schedule = createReloadSchedule(clock, reload);
  const watch = (deps.watch ?? watchPaths)(sources.paths, schedule.changed, (err) => {
    log.warn({ err, retry_in_ms: RETRY_MS }, 'the policy cannot be watched');
    schedule.blind();
  });
  let inForce: PolicyInForce;
  try {
    // Watched before it is read: what changes in between is seen.
    inForce = putInForce(loadHere(sources, watch.rearm()), clock, log);
  } catch (thrown) {
    close();
    throw thrown;
  }

  async function reload(retry: boolean): Promise<void> {
    try {
      const listed = watch.rearm();
      const next = areSmall(listed, SMALL)
        ? loadHere(sources, listed)
        : await loadInThread(sources, closing);
      if (closing.signal.aborted) return;
      schedule.good();
      inForce.replace(next);
    } catch (thrown) {
      if (closing.signal.aborted) return;
      // What is in the way may pass without a trace in the documents, as descriptors that are all taken.
      schedule.refused();
      inForce.keep(toIdentityError(thrown, 'ERR_POLICY'), retry);
    }
  }

  function close(): void {
    closing.abort(new IdentityError('ERR_SHUTDOWN', 'the policy store is closed'));
    schedule.close();
    watch.close();
  }

  return {
    current: () => inForce.current(),
    onChange: (listener) => inForce.onChange(listener),
    onReload: (listener) => inForce.onReload(listener),
    status: () => inForce.status(),
    close,
  };
}

function loadHere(sources: PolicySources, listed: readonly Documents[]): LoadedPolicy {
  const { entries, manifests, warnings } = loadPolicy(sources, listed);
  return { policy: compilePolicy(entries, manifests), warnings };
}
