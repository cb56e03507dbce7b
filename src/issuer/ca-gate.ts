import type { Clock } from '../core/clock.ts';
import type { AuthorityLevel } from './authority-control.ts';
import type { BundleReaders } from './bundle-readers.ts';
import type { CaKeeper } from './ca-keeper.ts';
import { delayEndMs, gateDeadlineMs, type PlanTerms } from './ca-plan.ts';
import { caIn } from './ca-state.ts';

interface GateDeps {
  readonly keeper: Pick<CaKeeper, 'state' | 'current'>;
  readonly readers: BundleReaders;
  readonly clock: Clock;
  readonly terms: PlanTerms;
  /** Until something may have changed. */
  readonly stirred: (options: { signal: AbortSignal }) => Promise<void>;
}

/** Until the prepared one of a level may take over: all proxies have its bundle, or were waited for. */
export async function waitAtGate(
  level: AuthorityLevel,
  deps: GateDeps,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const { clock, stirred } = deps;
  const sinceMs = clock.now();
  for (;;) {
    signal.throwIfAborted();
    const waitMs = opensIn(level, sinceMs, deps);
    if (waitMs <= 0) return;
    const look = new AbortController();
    const timer = clock.after(waitMs, () => look.abort());
    try {
      await stirred({ signal: AbortSignal.any([signal, look.signal]) });
    } catch (thrown) {
      if (!look.signal.aborted || signal.aborted) throw thrown;
    } finally {
      timer.cancel();
    }
  }
}

/** In how many milliseconds, at the latest; 0 or less: it is open. */
function opensIn(
  level: AuthorityLevel,
  sinceMs: number,
  { keeper, readers, clock, terms }: GateDeps,
): number {
  const state = keeper.state();
  const signer = keeper.current();
  const next = caIn(state, 'prepared');
  // Nothing else to sign with: nobody is waited for.
  if (!signer || signer.certificate === next?.chain[0]) return 0;
  const endMs = signer.validity.notAfterMs;
  const delayMs = level === 'issuing' && next ? delayEndMs(state, next, terms) : -Infinity;
  const deadlineMs = gateDeadlineMs(sinceMs, endMs, terms.ackTimeoutMs);
  const opensMs = Math.max(delayMs, readers.count().behind === 0 ? -Infinity : deadlineMs);
  return Math.min(opensMs, endMs) - clock.now();
}
