import { backoffDelay } from '../core/backoff.ts';
import { sleep, unlessAborted, type Clock } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { AuthorityControl } from './authority-control.ts';
import type { AuthorityStatus } from './ca-source.ts';
import type { ToldRoots } from './upstream-authority.ts';

interface Deps {
  readonly told: ToldRoots;
  readonly control: AuthorityControl;
  readonly authorities: () => readonly AuthorityStatus[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

const RETRY = { baseMs: 1000, maxMs: 30_000 };

/**
 * Leaves roots that the upstream tells to leave: a CA below another one is asked for until there is one,
 * what hangs on the old root is signed anew, and once nothing of it is in use it is trusted no more. Until
 * then the old one goes on: a word of the upstream takes nothing away that has no successor. Returns how
 * to stop.
 */
export function followTaints({ told, control, authorities, clock, random, log }: Deps): () => void {
  const closing = new AbortController();
  const { signal } = closing;

  function next(): AuthorityStatus | undefined {
    const left = new Set(told.tainted?.());
    return authorities().find(
      ({ level, id, revoked }) => level === 'root' && !revoked && left.has(id),
    );
  }

  async function follow(): Promise<never> {
    for (let attempt = 0; ;) {
      signal.throwIfAborted();
      const root = next();
      if (!root) {
        attempt = 0;
        await unlessAborted(change(told), signal);
        continue;
      }
      const { id: detail, tainted } = root;
      try {
        if (attempt === 0) log.info({ detail }, LEAVING[tainted ? 'revoke' : 'taint']);
        if (tainted) await control.revoke(detail, { signal, force: false });
        else await control.taint(detail, { signal });
        attempt = 0;
      } catch (thrown) {
        signal.throwIfAborted();
        const { code, message: reason } = toIdentityError(thrown, 'ERR_ISSUER');
        const delayMs = backoffDelay(attempt++, RETRY, random);
        const fields = { detail, code, reason, retry_in_ms: Math.round(delayMs) };
        if (attempt === 1) log.warn(fields, 'a root cannot be left yet');
        await sleep(clock, delayMs, { signal });
      }
    }
  }

  follow().catch((err: unknown) => {
    if (!signal.aborted) log.error({ err }, 'roots that are to be left are followed no more');
  });
  return () => closing.abort(new IdentityError('ERR_SHUTDOWN', 'the issuer is closed'));
}

const LEAVING = {
  taint: 'the upstream leaves a root: what hangs on it is replaced',
  revoke: 'the upstream has left a root: it is trusted no more once nothing of it is in use',
};

function change(told: ToldRoots): Promise<void> {
  return new Promise((resolve) => {
    const stop = told.onChange(() => {
      stop();
      resolve();
    });
  });
}
