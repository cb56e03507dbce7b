import { abortReason, unlessAborted, type Clock } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { createListeners } from '../core/listeners.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { createSchedule, type Schedule, type Scheduled } from '../core/schedule.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import {
  createCaCertifier,
  describe,
  isoTime,
  isValidAt,
  type Authority,
  type CertifierDeps,
} from './authority.ts';
import type { BundleReaders } from './bundle-readers.ts';
import { Attempts } from './ca-attempts.ts';
import {
  activateCa,
  activateRoot,
  pruned,
  withCa,
  withoutPrepared,
  withRoot,
  withTold,
} from './ca-changes.ts';
import { waitAtGate } from './ca-gate.ts';
import type { CaKeeper } from './ca-keeper.ts';
import { orderCa } from './ca-order.ts';
import { decide, type PlanTerms, type Step } from './ca-plan.ts';
import { caIn, ownRootIn, rootOf, type CaState } from './ca-state.ts';
import type { UpstreamStatus } from './ca-source.ts';
import type { AuthorityLevel } from './authority-control.ts';
import type { KeyType } from './key-type.ts';
import type { KeyManager } from './keys.ts';
import { createLimiter } from './limiter.ts';
import { createSelfSigned } from './self-signed.ts';
import { createToldRoots } from './told-roots.ts';
import type { UpstreamAuthority } from './upstream-authority.ts';
import { readOneCertificate } from './upstream-certificates.ts';

/** Who counts what becomes of authorities. */
export interface CaObserver {
  rotated(level: AuthorityLevel, step: 'prepare' | 'activate'): void;
  answered(result: 'issued' | 'error'): void;
}

export interface LifeTerms extends PlanTerms {
  readonly trustDomain: TrustDomain;
  readonly caKeyType: KeyType;
  readonly rootTtlMs: number;
  readonly nameConstraint: boolean;
}

export interface LifeDeps {
  readonly keeper: CaKeeper;
  readonly keys: Pick<KeyManager, 'generate'>;
  /** Undefined: a root of our own. */
  readonly upstream: UpstreamAuthority | undefined;
  readonly readers: BundleReaders;
  readonly observer: CaObserver | undefined;
  readonly onCaSigned?: CertifierDeps['onCaSigned'];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** When the rotation goes on after a fault of ours. */
const RESTART_MS = 10_000;

function deferred() {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

const isWaiting = (state: CaState) =>
  [...state.roots, ...state.issuing].some((one) => one.state === 'prepared');

/** Sees to it that authorities follow one another in time, and does one thing after the other. */
export class CaLife {
  readonly #terms: LifeTerms;
  readonly #deps: LifeDeps;
  readonly #keeper: CaKeeper;
  readonly #certify;
  readonly #lifetime = new AbortController();
  readonly #turn = createLimiter(1);
  readonly #schedule: Schedule;
  readonly #stirs;
  readonly #stop: (() => void)[] = [];
  readonly #making: Attempts;
  readonly #keeping: Attempts;
  #planned: Scheduled | undefined;
  #running: Promise<void> | undefined;
  #again = false;
  #lastSuccessMs: number | undefined;
  readonly #takeTold: () => void;

  constructor(terms: LifeTerms, deps: LifeDeps) {
    this.#terms = terms;
    this.#deps = deps;
    this.#keeper = deps.keeper;
    this.#certify = createCaCertifier(terms.trustDomain, terms.nameConstraint, deps);
    this.#schedule = createSchedule(deps.clock);
    this.#making = new Attempts(deps);
    this.#keeping = new Attempts(deps);
    this.#stirs = createListeners<undefined>((err) =>
      deps.log.error({ err }, 'who waits for the authorities failed'),
    );
    this.#takeTold = createToldRoots({ ...deps, trustDomain: terms.trustDomain });
    const { readers, upstream, keeper } = deps;
    // Acknowledgements come by the thousand, and matter while something waits for them.
    this.#stop.push(readers.onChange(() => isWaiting(keeper.state()) && this.#stir()));
    const stop = upstream?.roots?.onChange(() => this.#stir());
    if (stop) this.#stop.push(stop);
  }

  /** The CA to sign with, after what can be done at once was done. `ERR_ISSUER` and others when there is none. */
  async usable({ signal }: { signal?: AbortSignal }): Promise<Authority> {
    const now = this.#keeper.current();
    if (now) return now;
    this.#stirs.emit(undefined);
    await unlessAborted(this.advance(), signal);
    const then = this.#keeper.current();
    if (then) return then;
    throw this.#whyNothing();
  }

  /** Does everything that is due; rejects when the issuer is closed alone. */
  advance(): Promise<void> {
    const { signal } = this.#lifetime;
    if (signal.aborted) return Promise.reject(abortReason(signal));
    this.#running ??= this.#turn
      .run(() => this.#loop(), { signal })
      .finally(() => {
        this.#running = undefined;
        if (this.#again) this.#stir();
        else this.#stirs.emit(undefined);
      });
    return this.#running;
  }

  /** Runs a command when nothing else is being done; what is due by time waits for it. */
  async command<T>(
    task: (signal: AbortSignal) => Promise<T>,
    options: { signal: AbortSignal },
  ): Promise<T> {
    const signal = AbortSignal.any([options.signal, this.#lifetime.signal]);
    const work = async () => {
      try {
        return await task(signal);
      } finally {
        await this.#keeper.removeKeys();
      }
    };
    try {
      return await this.#turn.run(work, { signal });
    } finally {
      this.#stir();
    }
  }

  /** Until the next time that something was tried or has changed. */
  async stirred({ signal }: { signal?: AbortSignal }): Promise<void> {
    const { promise, resolve } = deferred();
    const stop = this.#stirs.add(resolve);
    try {
      await unlessAborted(promise, signal);
    } finally {
      stop();
    }
  }

  upstreamStatus(): UpstreamStatus | undefined {
    const { upstream } = this.#deps;
    const failure = this.#making.failure();
    return (
      upstream && {
        name: upstream.name,
        certFile: undefined,
        loadedAtMs: this.#lastSuccessMs,
        lastError: failure?.error.message,
        lastErrorAtMs: failure?.atMs,
        nextTryMs: failure?.retryAtMs,
      }
    );
  }

  close(): void {
    this.#lifetime.abort(new IdentityError('ERR_SHUTDOWN', 'the issuer is closed'));
    this.#schedule.close();
    for (const stop of this.#stop) stop();
    this.#deps.upstream?.close();
  }

  /** A root of our own, published and not signed with; resolves with its name. */
  async prepareRoot(): Promise<string> {
    const { keys, log, observer } = this.#deps;
    const key = await keys.generate(this.#terms.caKeyType);
    this.#lifetime.signal.throwIfAborted();
    const ttlMs = this.#terms.rootTtlMs;
    const made = await this.#certify({ key, ttlMs, issuer: undefined });
    this.#lifetime.signal.throwIfAborted();
    const root = { certificate: readOneCertificate(made.der), key: { id: key.id, type: key.type } };
    this.#keeper.addKey(key);
    this.#keeper.commit(withRoot(this.#keeper.state(), root, this.#keeper.moment()));
    observer?.rotated('root', 'prepare');
    log.info(describe(made), 'made a self-signed root');
    return made.keyId.toString('hex');
  }

  /**
   * A CA that is published and signs nothing. Without `insteadOf` it has to outlive the one in use; with
   * a root's name it has to be below another one.
   */
  async prepareCa(options: { signal: AbortSignal; insteadOf?: string }): Promise<string> {
    const { signal, insteadOf } = options;
    const { keys, clock, log, observer } = this.#deps;
    const { trustDomain, caTtlMs: ttlMs } = this.#terms;
    const keeper = this.#keeper;
    const upstream = this.#deps.upstream ?? this.#ownUpstream();
    const key = await keys.generate(this.#terms.caKeyType);
    signal.throwIfAborted();
    const state = keeper.state();
    const active = caIn(state, 'active');
    const now = keeper.current();
    const isSame = insteadOf === undefined && now?.certificate === active?.chain[0];
    const beyondMs = isSame && active?.upstream === upstream.name ? now?.validity.notAfterMs : 0;
    const terms = { trustDomain, ttlMs, state, now: () => clock.now(), beyondMs, insteadOf };
    const ca = await this.#counted(orderCa(upstream, key, terms, { signal }));
    signal.throwIfAborted();
    keeper.addKey(key);
    // Where roots come with CAs alone, those that came with this one are all there are.
    const told = this.#deps.upstream && !upstream.roots;
    const before = keeper.state();
    const known = told ? withTold(before, [ca.root, ...ca.told], keeper.moment()) : before;
    keeper.commit(withCa(known, ca, keeper.moment()));
    this.#lastSuccessMs = clock.now();
    observer?.rotated('issuing', 'prepare');
    log.info({ ...describe(ca.chain[0]), path: upstream.name }, 'prepared an issuing CA');
    return ca.chain[0].keyId.toString('hex');
  }

  /** Lets the prepared one of a level take over. */
  activate(level: AuthorityLevel): void {
    const { readers, log, observer } = this.#deps;
    const keeper = this.#keeper;
    const state = keeper.state();
    const { behind } = readers.count();
    const next =
      level === 'root'
        ? ownRootIn(state, 'prepared')?.certificate
        : caIn(state, 'prepared')?.chain[0];
    if (!next) throw new TypeError('nothing is prepared');
    if (behind > 0) {
      log.warn(
        { ...describe(next), count: behind },
        'some proxies have not acknowledged the bundle',
      );
    }
    const change = level === 'root' ? activateRoot : activateCa;
    keeper.commit(change(state, keeper.moment()));
    observer?.rotated(level, 'activate');
    log.info(
      describe(next),
      level === 'root'
        ? 'issuing CAs are made below a new root'
        : 'an issuing CA signs from now on',
    );
  }

  /** Until the prepared one may take over; `force` waits for nobody. */
  async gate(
    level: AuthorityLevel,
    { signal, force }: { signal: AbortSignal; force: boolean },
  ): Promise<void> {
    signal.throwIfAborted();
    if (force) return;
    const { readers, clock } = this.#deps;
    const stirred = (options: { signal: AbortSignal }) => this.stirred(options);
    const parts = { keeper: this.#keeper, readers, clock, terms: this.#terms, stirred };
    await waitAtGate(level, parts, { signal });
  }

  /** Something may have changed that others wait for. */
  #stir(): void {
    if (this.#lifetime.signal.aborted) return;
    this.#again = this.#running !== undefined;
    // What fails is said and put off there.
    if (!this.#again) void this.advance().catch((err: unknown) => this.#fell(err));
    this.#stirs.emit(undefined);
  }

  /** A fault of ours: what is due is looked at again, as nobody else would. */
  #fell(err: unknown): void {
    if (this.#lifetime.signal.aborted) return;
    this.#deps.log.error({ err }, 'the rotation of authorities failed');
    this.#plan(this.#deps.clock.now() + RESTART_MS);
  }

  async #loop(): Promise<void> {
    const { signal } = this.#lifetime;
    for (;;) {
      signal.throwIfAborted();
      this.#again = false;
      const keepFromMs = this.#keeping.notBeforeMs();
      if (keepFromMs > -Infinity) return this.#plan(keepFromMs);
      this.#takeTold();
      const step = this.#next();
      if (step.kind === 'wait') {
        if (!this.#isAskedAgain()) return this.#plan(step.untilMs);
        continue;
      }
      try {
        await this.#do(step);
        (step.kind === 'prepare' ? this.#making : this.#keeping).succeeded();
      } catch (thrown) {
        if (signal.aborted) throw abortReason(signal);
        this.#putOff(step, toIdentityError(thrown, 'ERR_ISSUER'));
      }
      await this.#keeper.removeKeys();
    }
  }

  /** By what has happened since the last look, which whoever waits for this one has not seen. */
  #isAskedAgain(): boolean {
    return this.#again;
  }

  #next(): Step {
    const { clock, readers } = this.#deps;
    return decide(
      this.#keeper.state(),
      {
        nowMs: clock.now(),
        behind: readers.count().behind,
        notBeforeMs: this.#making.notBeforeMs(),
        isOver: (ms) => this.#keeper.isOver(ms),
      },
      this.#terms,
    );
  }

  async #do(step: Exclude<Step, { kind: 'wait' }>): Promise<void> {
    const keeper = this.#keeper;
    const state = keeper.state();
    if (step.kind === 'prune') keeper.commit(pruned(state, (ms) => keeper.isOver(ms)));
    else if (step.kind === 'discard') keeper.commit(withoutPrepared(state, keeper.moment()));
    else if (step.kind === 'activate') this.activate(step.level);
    else if (step.level === 'root') await this.prepareRoot();
    else await this.prepareCa({ signal: this.#lifetime.signal });
  }

  #putOff(step: Step, error: IdentityError): void {
    const attempts = step.kind === 'prepare' ? this.#making : this.#keeping;
    attempts.failed(error, this.#keeper.current()?.validity.notAfterMs);
  }

  #plan(untilMs: number): void {
    this.#planned?.cancel();
    if (untilMs === Infinity) return;
    this.#planned = this.#schedule.at(untilMs, () => this.#stir());
  }

  #ownUpstream(): UpstreamAuthority {
    const root = ownRootIn(this.#keeper.state(), 'active');
    const key = root?.key && this.#keeper.key(root.key.id);
    if (root && key) return createSelfSigned({ certificate: root.certificate, key }, this.#certify);
    throw new IdentityError('ERR_ISSUER', 'there is no root to make an issuing CA below');
  }

  async #counted<T>(answer: Promise<T>): Promise<T> {
    const observer = this.#deps.upstream && this.#deps.observer;
    try {
      const issued = await answer;
      observer?.answered('issued');
      return issued;
    } catch (thrown) {
      if (!this.#lifetime.signal.aborted) observer?.answered('error');
      throw thrown;
    }
  }

  #whyNothing(): IdentityError {
    const failure = this.#making.failure() ?? this.#keeping.failure();
    if (failure) return failure.error;
    const state = this.#keeper.state();
    const nowMs = this.#deps.clock.now();
    const active = caIn(state, 'active');
    const root = ownRootIn(state, 'active') ?? (active && rootOf(state, active));
    const certificate = root?.certificate;
    if (certificate && !isValidAt(certificate.validity, nowMs)) {
      return new IdentityError(
        'ERR_ISSUER',
        `the root ${certificate.subjectText} is valid from ${isoTime(certificate.validity.notBeforeMs)}, but it is ${isoTime(nowMs)}`,
        { hint: "check the machine's clock" },
      );
    }
    return new IdentityError('ERR_ISSUER', 'there is no issuing CA to sign with now');
  }
}
