import { backoffDelay } from '../core/backoff.ts';
import type { Clock, Timer } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { createListeners } from '../core/listeners.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { isoTime } from './authority.ts';
import { buildCrl } from './crl.ts';
import { crlLife, isFresh, wantedCrls, type CrlLife, type WantedCrl } from './crl-plan.ts';
import type { CrlSource } from './crl-signers.ts';
import type { RevocationRecord } from './revocation-record.ts';

export interface CrlKeeperDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** The CRLs in force, as a bundle carries them. */
export interface PublishedCrls {
  /** DER; all that are needed or none. */
  readonly crls: readonly Buffer[];
  /** Grows with every change, over restarts too. */
  readonly number: number;
}

/** CRLs of all CAs of the own trust domain, for as long as anything is revoked. */
export interface CrlKeeper {
  /** The same object as long as nothing in it changes. */
  published(): PublishedCrls;
  /** Whether every CA that may have signed what a peer shows has its CRL among them. */
  covers(): boolean;
  /**
   * Makes what is missing, out of date or to be changed, and publishes all at once. Rejects when
   * something could not be made; what can be kept of the ones before is kept, and it is tried again.
   */
  update(): Promise<void>;
  onChange(listener: () => void): () => void;
  /**
   * The earliest end of one in force that is to be replaced before; undefined while there is none. One
   * that lasts as long as its CA is missed by nobody.
   */
  nextUpdateMs(): number | undefined;
  /** Why the last try failed, while that is still so. */
  failure(): IdentityError | undefined;
  close(): void;
}

interface MadeCrl extends CrlLife {
  readonly der: Buffer;
  readonly content: string;
}

/** How often plans are held against the wall clock, which may have been set. */
const LOOK_MS = 30_000;
const RETRY = { baseMs: 1000, maxMs: 60_000 };
/** A token that does not answer for that long is away. */
const SIGN_TIMEOUT_MS = 10_000;

export function createCrlKeeper(
  source: CrlSource,
  record: RevocationRecord,
  ttlMs: number,
  deps: CrlKeeperDeps,
): CrlKeeper {
  return new KeptCrls(source, record, ttlMs, deps);
}

class KeptCrls implements CrlKeeper {
  readonly #source: CrlSource;
  readonly #record: RevocationRecord;
  readonly #ttlMs: number;
  readonly #deps: CrlKeeperDeps;
  readonly #changes;
  /** By the signer's key identifier. */
  readonly #made = new Map<string, MadeCrl>();
  #published: PublishedCrls;
  /** Those that are published. */
  #inForce: readonly MadeCrl[] = [];
  #queued: Promise<void> | undefined;
  #running: Promise<void> | undefined;
  #timer: Timer | undefined;
  #failure: IdentityError | undefined;
  #attempt = 0;
  #closed = false;

  constructor(source: CrlSource, record: RevocationRecord, ttlMs: number, deps: CrlKeeperDeps) {
    this.#source = source;
    this.#record = record;
    this.#ttlMs = ttlMs;
    this.#deps = deps;
    this.#published = { crls: [], number: record.number };
    this.#changes = createListeners<undefined>((thrown) =>
      deps.log.error({ err: thrown }, 'a reader of the CRLs failed'),
    );
  }

  published(): PublishedCrls {
    return this.#published;
  }

  covers(): boolean {
    return this.#wanted().every(({ keyId, content }) => {
      const made = this.#made.get(keyId);
      return made?.content === content && this.#inForce.includes(made);
    });
  }

  onChange(listener: () => void): () => void {
    return this.#changes.add(listener);
  }

  nextUpdateMs(): number | undefined {
    if (this.#inForce.length === 0) return undefined;
    const replaced = this.#inForce.filter(({ refreshAtMs }) => refreshAtMs !== Infinity);
    const which = replaced.length > 0 ? replaced : this.#inForce;
    return Math.min(...which.map((made) => made.nextUpdateMs));
  }

  failure(): IdentityError | undefined {
    return this.#failure;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** One round at a time; who asks while one goes on gets the one after it. */
  update(): Promise<void> {
    this.#queued ??= this.#begin();
    return this.#queued;
  }

  async #begin(): Promise<void> {
    await this.#running?.catch(() => undefined);
    this.#queued = undefined;
    if (this.#closed) throw closed();
    this.#running = this.#round();
    await this.#running;
  }

  async #round(): Promise<void> {
    try {
      const wanted = this.#wanted();
      const stale = wanted.filter((one) => !this.#isFresh(one));
      const faults = stale.length > 0 ? await this.#makeAll(stale) : [];
      if (this.#closed) throw closed();
      this.#publish(this.#wanted());
      const [fault] = faults;
      if (fault) throw fault;
      this.#attempt = 0;
      this.#failure = undefined;
    } catch (thrown) {
      const error = toIdentityError(thrown, 'ERR_ISSUER');
      throw error.code === 'ERR_SHUTDOWN' ? error : this.#failed(error);
    } finally {
      this.#plan();
    }
  }

  #wanted(): readonly WantedCrl[] {
    const signers = this.#source.crlSigners();
    const authorities = this.#source.revokedAuthorities();
    const facts = { revoked: this.#record.revoked(), authorities, signers };
    return wantedCrls(facts, this.#deps.clock.now());
  }

  #isFresh({ keyId, content }: WantedCrl): boolean {
    const made = this.#made.get(keyId);
    return made?.content === content && isFresh(made, this.#deps.clock.now());
  }

  /** Answers with what went wrong; what did not is kept. */
  async #makeAll(wanted: readonly WantedCrl[]): Promise<readonly IdentityError[]> {
    const number = this.#record.next();
    const results = await Promise.allSettled(wanted.map((one) => this.#make(one, number)));
    return results.flatMap((one) =>
      one.status === 'rejected' ? [toIdentityError(one.reason, 'ERR_ISSUER')] : [],
    );
  }

  async #make({ signer, keyId, entries, content }: WantedCrl, number: number): Promise<void> {
    const { clock, random } = this.#deps;
    const { certificate } = signer;
    const life = crlLife(clock.now(), this.#ttlMs, certificate.validity, random.unit());
    const what = `the CRL of ${certificate.subjectText}`;
    const der = await within(clock, what, buildCrl({ signer, entries, number, ...life }));
    this.#made.set(keyId, { ...life, der, content });
  }

  /** All or none: chains through a CA without one would be refused by who has another. */
  #publish(wanted: readonly WantedCrl[]): void {
    const keyIds = new Set(wanted.map(({ keyId }) => keyId));
    for (const keyId of this.#made.keys()) if (!keyIds.has(keyId)) this.#made.delete(keyId);
    const made = wanted.flatMap(({ keyId }) => this.#made.get(keyId) ?? []);
    const before = this.#inForce;
    if (made.length < wanted.length) return;
    if (made.length === before.length && made.every((one) => before.includes(one))) return;
    const grown = this.#record.number > this.#published.number;
    const number = grown ? this.#record.number : this.#record.next();
    this.#inForce = made;
    this.#published = { crls: made.map(({ der }) => der), number };
    const nextUpdateMs = this.nextUpdateMs();
    const fields = { count: made.length };
    if (nextUpdateMs === undefined)
      this.#deps.log.info(fields, 'CRLs taken away: nothing is listed any more');
    else this.#deps.log.info({ ...fields, not_after: isoTime(nextUpdateMs) }, 'CRLs published');
    this.#changes.emit(undefined);
  }

  #failed(error: IdentityError): IdentityError {
    const { clock, log } = this.#deps;
    this.#failure = error;
    this.#attempt++;
    const endMs = this.nextUpdateMs() ?? 0;
    const fields = { err: error, code: error.code, attempt: this.#attempt };
    if (!this.covers()) log.error(fields, 'a revocation is not published: no CRL could be made');
    else if (endMs - clock.now() > this.#ttlMs / 4) {
      log.warn(fields, 'CRLs could not be made anew, those in force are valid');
    } else {
      const end = { ...fields, not_after: isoTime(endMs) };
      log.error(end, 'CRLs could not be made anew; when they end, nobody accepts any SVID');
    }
    return error;
  }

  #plan(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const idle = this.#inForce.length === 0 && this.#failure === undefined;
    if (this.#closed || idle) return;
    const { clock, random } = this.#deps;
    const now = clock.now();
    const due = this.#inForce.flatMap((one) => [one.refreshAtMs, one.nextUpdateMs]);
    const waitMs = this.#failure
      ? backoffDelay(this.#attempt, RETRY, random)
      : Math.max(Math.min(LOOK_MS, ...due.map((at) => at - now)), 1000);
    // A failure has been logged and is planned for already.
    this.#timer = clock.after(waitMs, () => void this.update().catch(() => undefined));
  }
}

function closed(): IdentityError {
  return new IdentityError('ERR_SHUTDOWN', 'the issuer is closed');
}

/** The same, or `ERR_ISSUER` when it takes too long. */
function within<T>(clock: Clock, what: string, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(SIGN_TIMEOUT_MS, () => {
      const why = `${what} was not signed within ${SIGN_TIMEOUT_MS / 1000} s`;
      reject(new IdentityError('ERR_ISSUER', why));
    });
    void work.then(resolve, reject).finally(() => timer.cancel());
  });
}
