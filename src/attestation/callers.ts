import { abortReason, unlessAborted } from '../core/clock.ts';
import { IdentityError, systemCode, toIdentityError } from '../core/errors.ts';
import { createListeners } from '../core/listeners.ts';
import type { LogFields, Logger } from '../core/log.ts';
import type { Caller } from '../identity/caller.ts';
import { loggable, type Selector } from '../identity/selector.ts';
import { gatherEvidence, type Attestor, type Evidence } from './attestor.ts';
import type { Process } from './process.ts';
import type { Processes } from './processes.ts';

export interface CallersDeps {
  readonly attestors: readonly Attestor[];
  readonly processes: Processes;
  readonly log: Logger;
}

/** The line of the log by which the bench knows when a process was attested. */
export const ATTESTED = 'process attested';

/**
 * Attests a process once for all that ask while it stays what it is, and looks anew at each call.
 * Rejects with `ERR_PEER_GONE` or `ERR_ATTESTATION`, or with the signal's reason.
 */
export function createCallers(
  deps: CallersDeps,
): (process: Process, signal: AbortSignal) => Promise<Caller> {
  const { processes } = deps;

  function begin(process: Process): Promise<Caller> {
    const begun = attest(process, deps).catch((thrown: unknown) => {
      // Not kept: the next stream tries again.
      if (process.caller === begun) process.caller = undefined;
      throw failure(process, thrown, deps);
    });
    return begun;
  }

  return async (process, signal) => {
    // The first look is the attestors' own: they read what says whether it is still the same.
    if (process.caller) processes.review(process);
    const caller = await unlessAborted((process.caller ??= begin(process)), signal);
    if (!caller.gone.aborted) processes.examine(process);
    if (caller.gone.aborted) throw abortReason(caller.gone);
    return caller;
  };
}

async function attest(process: Process, deps: CallersDeps): Promise<Caller> {
  const { attestors, processes, log } = deps;
  const { peer, gone, renewals } = process;
  const { signal } = gone;
  const { selectors, follow, ...checks } = await gatherEvidence(attestors, peer, { signal });
  if (!signal.aborted) {
    processes.attested(process, checks);
    processes.examine(process);
  }
  // Also when it has just become another program: what was gathered is of either.
  if (signal.aborted) throw abortReason(signal);
  const { credentials } = peer;
  log.debug(
    { peer_pid: credentials.pid, peer_uid: credentials.uid, selectors: loggable(selectors) },
    ATTESTED,
  );
  const current = followSelectors(process, { selectors, ...(follow ? { follow } : {}) }, deps);
  // Gathering may have waited for a cluster to tell of a pod: what was read first may not hold by now.
  processes.review(process);
  return {
    // Another program is another caller: nothing that was the former's becomes its own.
    key: renewals === 0 ? peer.key : `${peer.key}.${renewals}`,
    credentials,
    get selectors() {
      return current.selectors;
    },
    onChange: current.onChange,
    gone: signal,
    startTicks: () => startTicksOf(process),
    isAlive: () => !signal.aborted && processes.isAlive(process),
    isUnchanged: () => !signal.aborted && processes.isUnchanged(process),
  };
}

function startTicksOf({ peer }: Process): number | undefined {
  try {
    return peer.startTicks();
  } catch {
    // It has ended and was let go of.
    return undefined;
  }
}

/** The selectors of an attested process, as long as it is what it was attested as. */
function followSelectors(
  process: Process,
  { selectors: first, follow }: Pick<Evidence, 'selectors' | 'follow'>,
  { processes, log }: CallersDeps,
): Pick<Caller, 'selectors' | 'onChange'> {
  const { gone, peer } = process;
  const fields = { peer_pid: peer.credentials.pid, peer_uid: peer.credentials.uid };
  const changes = createListeners<undefined>((err) => log.error({ err }, 'a listener failed'));
  let selectors = first;
  const stop = follow?.((now) => {
    if (gone.signal.aborted) return;
    if (now instanceof IdentityError) {
      log.info({ ...fields, reason: now.message }, 'process is attested no more');
      // That nothing can be said now may pass, and its connections live on.
      if (now.code === 'ERR_ATTESTATION') return processes.again(process, now);
      return processes.end(process, now);
    }
    if (now.length === selectors.length && now.every((one, n) => one === selectors[n])) return;
    const before = selectors;
    selectors = now;
    const gained = loggable(without(now, before));
    const lost = loggable(without(before, now));
    log.info({ ...fields, gained, lost }, 'process has other selectors');
    changes.emit(undefined);
  });
  // It may have been told of the end before it was there to be stopped.
  if (gone.signal.aborted) stop?.();
  else if (stop) gone.signal.addEventListener('abort', stop, { once: true });
  return {
    get selectors() {
      return selectors;
    },
    onChange: (listener) => changes.add(listener),
  };
}

/** As many as a line may hold: how many groups it has says the process. */
const MAX_LOGGED_SELECTORS = 16;

function without(these: readonly Selector[], others: readonly Selector[]): readonly Selector[] {
  const known = new Set(others);
  return these.filter((one) => !known.has(one)).slice(0, MAX_LOGGED_SELECTORS);
}

/** The error of an attestation that failed, once it is logged. */
function failure({ peer }: Process, thrown: unknown, { log }: CallersDeps): IdentityError {
  const error = toIdentityError(thrown, peer.hasExited() ? 'ERR_PEER_GONE' : 'ERR_ATTESTATION');
  const fields = { peer_pid: peer.credentials.pid, ...failureFields(thrown), code: error.code };
  // That peers come and go is their business.
  if (error.code === 'ERR_PEER_GONE') log.debug(fields, 'peer gone before it was attested');
  else log.info(fields, 'attestation failed');
  return error;
}

/**
 * What a line about a peer says of a failure. Peers can bring failures about as often as they like:
 * only one that nobody foresaw is worth its stack.
 */
export function failureFields(thrown: unknown): LogFields {
  const error = toIdentityError(thrown, 'ERR_ATTESTATION');
  const foreseen = thrown instanceof IdentityError || systemCode(thrown) !== undefined;
  return { code: error.code, ...(foreseen ? { reason: error.message } : { err: thrown }) };
}
