import { backoffDelay } from '../core/backoff.ts';
import type { Clock } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { KeyRequest, OpenRequest, TokenValue } from './protocol.ts';
import { TokenFault, TokenProcess, type StartProcess } from './token-process.ts';

/** A network HSM that takes longer is not there. */
const DEADLINE_MS = 10_000;
/** A card takes a minute to find the primes of an RSA key. */
const GENERATE_DEADLINE_MS = 180_000;
const MOST_WAITING = 4096;
const BACKOFF = { baseMs: 500, maxMs: 30_000 };

export interface LinkDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly start: StartProcess;
}

/**
 * The way to a token: a process that is started anew when it is lost. A call that was on its way then is
 * made once more in a new process; after a token that cannot be opened further calls fail at once, until
 * the next attempt is due.
 */
export class TokenLink {
  readonly #request: OpenRequest;
  readonly #deps: LinkDeps;
  #opening: Promise<TokenProcess> | undefined;
  #process: TokenProcess | undefined;
  /** Whether the process of now has answered anything; one that never did is no reason to hurry. */
  #proven = false;
  #failures = 0;
  #retry: { readonly atMs: number; readonly error: IdentityError } | undefined;
  #waiting = 0;
  #closed = false;
  #others = 0;

  constructor(request: OpenRequest, deps: LinkDeps) {
    this.#request = request;
    this.#deps = deps;
  }

  /** Keys of other daemons under the same label, as they were when the token was opened. */
  get others(): number {
    return this.#others;
  }

  /** Opens the token if it is not; `ERR_KEY_STORE` when that fails. */
  async open(): Promise<void> {
    await this.#connected();
  }

  /** `ERR_KEY_STORE` when the token cannot do it now. */
  async ask(request: KeyRequest): Promise<TokenValue> {
    if (this.#waiting >= MOST_WAITING) {
      throw new IdentityError('ERR_KEY_STORE', `${MOST_WAITING} calls wait for the token`);
    }
    this.#waiting++;
    try {
      return await this.#askTwice(request);
    } finally {
      this.#waiting--;
    }
  }

  close(): void {
    this.#closed = true;
    this.#process?.close();
  }

  async #askTwice(request: KeyRequest): Promise<TokenValue> {
    // A key that may have been made is not made twice.
    const again = request.call !== 'generate';
    const withinMs = request.call === 'generate' ? GENERATE_DEADLINE_MS : DEADLINE_MS;
    for (let attempt = 0; ; attempt++) {
      const used = await this.#connected();
      try {
        const value = await used.ask(request, withinMs);
        this.#proven = true;
        this.#failures = 0;
        return value;
      } catch (thrown) {
        if (!(thrown instanceof TokenFault)) throw thrown;
        if (thrown.lost || !used.alive) this.#lose(used, thrown);
        if (!thrown.lost || !again || attempt > 0 || this.#closed) throw thrown;
      }
    }
  }

  #connected(): Promise<TokenProcess> {
    if (this.#closed) {
      return Promise.reject(new IdentityError('ERR_SHUTDOWN', 'the token is closed'));
    }
    if (this.#process?.alive) return Promise.resolve(this.#process);
    if (this.#opening) return this.#opening;
    const { clock } = this.#deps;
    if (this.#retry && clock.monotonic() < this.#retry.atMs) {
      return Promise.reject(this.#retry.error);
    }
    this.#opening = this.#connect().finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  async #connect(): Promise<TokenProcess> {
    const { clock, start, log } = this.#deps;
    const opened = new TokenProcess(start, clock);
    this.#process = opened;
    this.#proven = false;
    try {
      this.#others = Number(await opened.ask(this.#request, DEADLINE_MS)) || 0;
    } catch (thrown) {
      opened.close();
      const error = toIdentityError(thrown, 'ERR_KEY_STORE');
      this.#putOff(error);
      throw error;
    }
    if (this.#retry) log.info({}, 'the token can be used again');
    this.#retry = undefined;
    return opened;
  }

  /** Gives a process up; the next call starts another. */
  #lose(used: TokenProcess, fault: TokenFault): void {
    // Others that waited for the same one come here too.
    if (this.#process !== used) return;
    this.#process = undefined;
    used.close();
    if (this.#closed) return;
    if (this.#proven) this.#deps.log.warn({ err: fault }, 'the token was lost, it is opened anew');
    else this.#putOff(fault);
  }

  #putOff(error: IdentityError): void {
    const { clock, random, log } = this.#deps;
    const delayMs = backoffDelay(this.#failures++, BACKOFF, random);
    this.#retry = { atMs: clock.monotonic() + delayMs, error };
    if (this.#closed) return;
    log.error(
      { err: error, attempt: this.#failures, retry_in_ms: Math.round(delayMs) },
      'the token cannot be used, no CA key can sign',
    );
  }
}
