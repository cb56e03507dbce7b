import { backoffDelay } from '../core/backoff.ts';
import { unlessAborted, type Clock, type Timer } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { VaultRefusal } from './answer.ts';
import { askingFault, type VaultCalls } from './calls.ts';
import { logIn, readToken, renew, type Lease } from './login.ts';
import type { VaultConfig } from './vault-config.ts';

export interface SessionDeps {
  readonly calls: VaultCalls;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** A token, kept alive as long as Vault lets it. */
export interface VaultSession {
  /** Logs in when there is no token, or one that ends soon. Rejects as `logIn` does. */
  token(options: { signal: AbortSignal }): Promise<GivenToken>;
  /** Vault did not know it: the next one is another. */
  forget(token: string): void;
  close(): void;
}

export interface GivenToken {
  readonly token: string;
  /** It is of this very moment: when Vault denies it something, another one will not do either. */
  readonly isNew: boolean;
}

/** What is asked with a token takes at most that long. */
const MARGIN_MS = 30_000;
const RETRY = { baseMs: 1000, maxMs: 60_000 };

interface Kept {
  readonly token: string;
  /** On the monotonic clock; undefined: it does not end, as far as anybody said. */
  readonly endsAtMs: number | undefined;
  /** What it was first given. */
  readonly fullMs: number;
}

/**
 * Logging in may cost a use of a secret ID, so that a token is renewed at half of its life as long as it
 * can be. One that comes near the longest life that Vault allows is left to end: a new one is fetched
 * when it is needed.
 */
export function createVaultSession(config: VaultConfig, deps: SessionDeps): VaultSession {
  const { calls, clock, random, log } = deps;
  const { auth } = config;
  const closing = new AbortController();
  let kept: Kept | undefined;
  let timer: Timer | undefined;
  let arriving: Promise<string> | undefined;

  function drop(): void {
    timer?.cancel();
    kept = timer = undefined;
  }

  function keep({ token, lifeMs, renewable }: Lease, fullMs = lifeMs ?? 0): void {
    drop();
    if (closing.signal.aborted) return;
    const endsAtMs = lifeMs === undefined ? undefined : clock.monotonic() + lifeMs;
    kept = { token, endsAtMs, fullMs };
    // Vault cuts what it gives near the longest life of a token: less than half is the last time.
    if (renewable && lifeMs !== undefined && lifeMs * 2 >= fullMs) {
      renewIn(lifeMs / 2, kept, 0);
    }
  }

  function renewIn(delayMs: number, of: Kept, attempt: number): void {
    timer = clock.after(delayMs, () => void prolong(of, attempt));
  }

  async function prolong(of: Kept, attempt: number): Promise<void> {
    try {
      const lease = await renew(of.token, calls, { signal: closing.signal });
      if (kept === of) keep(lease, of.fullMs);
    } catch (thrown) {
      if (kept !== of || closing.signal.aborted) return;
      const { message: reason } = askingFault(thrown, config);
      const isRefused = thrown instanceof VaultRefusal && [400, 403].includes(thrown.status);
      if (attempt === 0) log.info({ reason }, 'the token of vault is not renewed');
      if (isRefused || endsSoon(of)) return void (timer = undefined);
      renewIn(backoffDelay(attempt, RETRY, random), of, attempt + 1);
    }
  }

  const endsSoon = ({ endsAtMs, fullMs }: Kept) =>
    // One that lives for less than a minute is of use for the half of it.
    endsAtMs !== undefined && clock.monotonic() > endsAtMs - Math.min(MARGIN_MS, fullMs / 2);

  /** An agent replaces the file when it has another token. */
  function isReplaced({ token }: Kept): boolean {
    if (auth.type !== 'token') return false;
    try {
      return readToken(auth.tokenFile) !== token;
    } catch {
      // The one at hand is good until Vault says otherwise.
      return false;
    }
  }

  function arrive(): Promise<string> {
    arriving ??= logIn(auth, calls, { signal: closing.signal })
      .then((lease) => {
        keep(lease);
        return lease.token;
      })
      .finally(() => (arriving = undefined));
    return arriving;
  }

  return {
    async token({ signal }) {
      if (kept && (endsSoon(kept) || isReplaced(kept))) drop();
      if (kept) return { token: kept.token, isNew: false };
      return { token: await unlessAborted(arrive(), signal), isNew: true };
    },
    forget(token) {
      if (kept?.token === token) drop();
    },
    close() {
      closing.abort(new Error('closed'));
      drop();
    },
  };
}
