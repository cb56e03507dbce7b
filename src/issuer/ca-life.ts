import { abortReason, unlessAborted } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { createListeners } from '../core/listeners.ts';
import { createSchedule, type Schedule, type Scheduled } from '../core/schedule.ts';
import { isoTime, isValidAt, type Authority } from './authority.ts';
import type { AuthorityLevel } from './authority-control.ts';
import { Attempts } from './ca-attempts.ts';
import { pruned, withoutPrepared } from './ca-changes.ts';
import { waitAtGate } from './ca-gate.ts';
import type { CaKeeper } from './ca-keeper.ts';
import { decide, type Step } from './ca-plan.ts';
import type { UpstreamStatus } from './ca-source.ts';
import { caIn, ownRootIn, rootOf, type CaState } from './ca-state.ts';
import { CaSteps, type StepDeps, type StepTerms } from './ca-steps.ts';
import { createLimiter } from './limiter.ts';
import { createToldRoots } from './told-roots.ts';

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
  /** For commands too: one at a time, as in `command`. */
  readonly steps: CaSteps;
  readonly #terms: StepTerms;
  readonly #deps: StepDeps;
  readonly #keeper: CaKeeper;
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
  readonly #takeTold: () => void;

  constructor(terms: StepTerms, deps: StepDeps) {
    this.#terms = terms;
    this.#deps = deps;
    this.#keeper = deps.keeper;
    this.steps = new CaSteps(terms, deps, this.#lifetime.signal);
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
        loadedAtMs: this.steps.lastSuccessMs,
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
    else if (step.kind === 'activate') this.steps.activate(step.level);
    else if (step.level === 'root') await this.steps.prepareRoot();
    else await this.steps.prepareCa({ signal: this.#lifetime.signal });
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
