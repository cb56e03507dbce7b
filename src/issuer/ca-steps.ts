import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { createCaCertifier, describe, type CaCertifier, type CertifierDeps } from './authority.ts';
import type { AuthorityLevel } from './authority-control.ts';
import type { BundleReaders } from './bundle-readers.ts';
import { activateCa, activateRoot, withCa, withRoot, withTold } from './ca-changes.ts';
import type { CaKeeper } from './ca-keeper.ts';
import { orderCa } from './ca-order.ts';
import type { PlanTerms } from './ca-plan.ts';
import { caIn, ownRootIn } from './ca-state.ts';
import type { KeyType } from './key-type.ts';
import type { KeyManager } from './keys.ts';
import { createSelfSigned } from './self-signed.ts';
import type { UpstreamAuthority } from './upstream-authority.ts';
import { readOneCertificate } from './upstream-certificates.ts';

/** Who counts what becomes of authorities. */
export interface CaObserver {
  rotated(level: AuthorityLevel, step: 'prepare' | 'activate'): void;
  answered(result: 'issued' | 'error'): void;
}

/** What new authorities are to be like. */
export interface StepTerms extends PlanTerms {
  readonly trustDomain: TrustDomain;
  readonly caKeyType: KeyType;
  readonly rootTtlMs: number;
  readonly nameConstraint: boolean;
}

export interface StepDeps {
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

/** The steps of a rotation, done when somebody decides that it is time: each ends in one journal write. */
export class CaSteps {
  readonly #terms: StepTerms;
  readonly #deps: StepDeps;
  readonly #keeper: CaKeeper;
  readonly #certify: CaCertifier;
  /** Aborted with the issuer. */
  readonly #closing: AbortSignal;
  #lastSuccessMs: number | undefined;

  constructor(terms: StepTerms, deps: StepDeps, closing: AbortSignal) {
    this.#terms = terms;
    this.#deps = deps;
    this.#keeper = deps.keeper;
    this.#certify = createCaCertifier(terms.trustDomain, terms.nameConstraint, deps);
    this.#closing = closing;
  }

  /** When a CA was last issued in this run. */
  get lastSuccessMs(): number | undefined {
    return this.#lastSuccessMs;
  }

  /** A root of our own, published and not signed with; resolves with its name. */
  async prepareRoot(): Promise<string> {
    const { keys, log, observer } = this.#deps;
    const key = await keys.generate(this.#terms.caKeyType);
    this.#closing.throwIfAborted();
    const ttlMs = this.#terms.rootTtlMs;
    const made = await this.#certify({ key, ttlMs, issuer: undefined });
    this.#closing.throwIfAborted();
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
      if (!this.#closing.aborted) observer?.answered('error');
      throw thrown;
    }
  }
}
