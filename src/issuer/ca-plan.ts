import { hash } from 'node:crypto';
import { isValidAt } from './authority.ts';
import { pruned } from './ca-changes.ts';
import {
  caIn,
  nameOfCa,
  nameOfRoot,
  ownRootIn,
  rootOf,
  SELF_SIGNED,
  signersIn,
  signingLifeOf,
  validityOf,
  type CaEntry,
  type CaState,
} from './ca-state.ts';
import type { Validity } from './profile.ts';

/** When authorities are followed up; shares are of an authority's life. */
export interface RotationTerms {
  /** The share that is left when the next one is made. */
  readonly prepareLeft: number;
  /** The share that is left when the next one takes over. */
  readonly activateLeft: number;
  /** By which share of itself either point moves, drawn once for each certificate. */
  readonly jitter: number;
  /** How long, in milliseconds, proxies that have not acknowledged the bundle are waited for. */
  readonly ackTimeoutMs: number;
}

export interface PlanTerms extends RotationTerms {
  readonly caTtlMs: number;
  /** Name of the upstream in force. */
  readonly upstream: string;
  /** How long a root that other nodes may not know yet is in the bundle before it is signed under. */
  readonly newRootDelayMs: number;
}

/** What is so at the moment; wall clock in milliseconds. */
export interface Facts {
  readonly nowMs: number;
  /** Proxies that have not acknowledged the bundle as it is now. */
  readonly behind: number;
  /** Nothing is prepared before that: the last attempt has failed. */
  readonly notBeforeMs: number;
  /** Whether a moment is past for good, also by a clock that may have been set forward. */
  readonly isOver: (ms: number) => boolean;
}

/** What is to be done next, or when to look again. */
export type Step =
  | { readonly kind: 'prepare' | 'activate'; readonly level: 'root' | 'issuing' }
  /** A prepared CA that nobody wants any more. */
  | { readonly kind: 'discard' }
  | { readonly kind: 'prune' }
  | { readonly kind: 'wait'; readonly untilMs: number };

/**
 * What the authorities need next. Nothing is signed below a root, or with a CA, before the proxies of
 * this node have it; only when there is nothing else to sign with nobody is waited for.
 */
export function decide(state: CaState, facts: Facts, terms: PlanTerms): Step {
  if (pruned(state, facts.isOver) !== state) return { kind: 'prune' };
  const looks = new Looks(state, facts);
  const planning = { state, facts, terms, looks };
  const root = terms.upstream === SELF_SIGNED ? decideRoot(planning) : undefined;
  return root ?? decideIssuing(planning) ?? { kind: 'wait', untilMs: looks.nextMs };
}

interface Planning {
  readonly state: CaState;
  readonly facts: Facts;
  readonly terms: PlanTerms;
  readonly looks: Looks;
}

/** How long until a moment that only a clock set forward has passed is looked at again. */
const DOUBT_LOOK_MS = 60_000;

/** The share of a life that is left at a turn, in the same place for one certificate at any time. */
export function turnMs(name: string, validity: Validity, share: number, jitter: number): number {
  const { notBeforeMs, notAfterMs } = validity;
  const drawn = hash('sha256', `turn ${name}`, 'buffer').readUInt32BE(0) / 2 ** 32;
  const left = share * (1 + jitter * (2 * drawn - 1));
  return notAfterMs - (notAfterMs - notBeforeMs) * Math.min(left, 1);
}

/** When the gate in front of an authority opens though proxies are behind; no later than half of what is left. */
export function gateDeadlineMs(sinceMs: number, endMs: number, ackTimeoutMs: number): number {
  return sinceMs + Math.min(ackTimeoutMs, Math.max(endMs - sinceMs, 0) / 2);
}

/** When a new CA may sign beside the one that does, though everybody here has its root. */
export function delayEndMs(state: CaState, next: CaEntry, terms: PlanTerms): number {
  const active = caIn(state, 'active');
  if (terms.upstream === SELF_SIGNED || !active || active.root === next.root) return -Infinity;
  return (rootOf(state, next)?.sinceMs ?? 0) + terms.newRootDelayMs;
}

class Looks {
  nextMs = Infinity;
  readonly #nowMs: number;

  /** At the ends of everything, if nothing comes before them. */
  constructor(state: CaState, { nowMs, isOver }: Facts) {
    this.#nowMs = nowMs;
    for (const ca of state.issuing) {
      const { notBeforeMs, notAfterMs } = signingLifeOf(state, ca);
      for (const ms of [notBeforeMs, notAfterMs - 999]) this.at(ms);
    }
    const lives = [
      ...state.issuing.map((ca) => [validityOf(state, ca).notAfterMs, ca.untilMs]),
      ...state.roots.map((root) => [root.certificate.validity.notAfterMs, root.untilMs]),
    ];
    for (const ms of lives.flat()) {
      this.at(ms);
      if (ms !== undefined && ms <= nowMs && !isOver(ms)) this.at(nowMs + DOUBT_LOOK_MS);
    }
  }

  at(ms: number | undefined): void {
    if (ms !== undefined && ms > this.#nowMs) this.nextMs = Math.min(this.nextMs, ms);
  }

  /** Whether it is time; otherwise it is looked again then. */
  isDue(ms: number): boolean {
    this.at(ms);
    return ms <= this.#nowMs;
  }
}

const ACTIVATE_ROOT = { kind: 'activate', level: 'root' } as const;
const ACTIVATE = { kind: 'activate', level: 'issuing' } as const;

function decideRoot({ state, facts, terms, looks }: Planning): Step | undefined {
  const active = ownRootIn(state, 'active');
  const next = ownRootIn(state, 'prepared');
  const prepare = () =>
    looks.isDue(facts.notBeforeMs) ? ({ kind: 'prepare', level: 'root' } as const) : undefined;
  const validity = active?.certificate.validity;
  if (!active || !validity || validity.notAfterMs < facts.nowMs + 1000) {
    if (!next) return prepare();
    const signer = signerAt(state, facts.nowMs);
    // There may be one below another root still.
    if (!signer) return ACTIVATE_ROOT;
    const { notAfterMs } = signingLifeOf(state, signer);
    return isOpen(next.sinceMs, notAfterMs, facts, terms, looks) ? ACTIVATE_ROOT : undefined;
  }
  const turn = (share: number) => turnMs(nameOfRoot(active), validity, share, terms.jitter);
  if (!next) return looks.isDue(turn(terms.prepareLeft)) ? prepare() : undefined;
  const turnAt = turn(terms.activateLeft);
  if (!looks.isDue(turnAt)) return undefined;
  const since = Math.max(turnAt, next.sinceMs);
  return isOpen(since, validity.notAfterMs, facts, terms, looks) ? ACTIVATE_ROOT : undefined;
}

function decideIssuing(planning: Planning): Step | undefined {
  const { state, facts, terms, looks } = planning;
  const active = caIn(state, 'active');
  const next = caIn(state, 'prepared');
  const signer = signerAt(state, facts.nowMs);
  if (next && isUseless(state, next, signer, terms)) return { kind: 'discard' };
  const isReady = next !== undefined && isValidAt(validityOf(state, next), facts.nowMs);
  if (!signer && next && !isReady) {
    // One that has ended waits for nothing; what is over for good is decided later, after a restart.
    return validityOf(state, next).notAfterMs < facts.nowMs + 1000
      ? { kind: 'discard' }
      : undefined;
  }
  if (!signer) return next ? ACTIVATE : prepareCa(planning);
  const life = signingLifeOf(state, signer);
  if (signer !== active) {
    // The clock was set back: the one in use is only not valid yet, and will be before this one ends.
    const fromMs = active ? validityOf(state, active).notBeforeMs : -Infinity;
    if (fromMs > facts.nowMs && fromMs < life.notAfterMs - 1000) return undefined;
    if (!next) return prepareCa(planning);
  }
  const isOther = signer !== active || signer.upstream !== terms.upstream;
  const turn = (share: number) =>
    isOther ? -Infinity : turnMs(nameOfCa(signer), life, share, terms.jitter);
  if (!next) {
    const isDue = looks.isDue(turn(terms.prepareLeft));
    return isDue && (isOther || livesLonger(life, planning)) ? prepareCa(planning) : undefined;
  }
  const turnAt = turn(terms.activateLeft);
  if (!isReady || !looks.isDue(turnAt)) return undefined;
  if (!looks.isDue(Math.min(delayEndMs(state, next, terms), life.notAfterMs))) return undefined;
  const since = Math.max(turnAt, next.sinceMs);
  return isOpen(since, life.notAfterMs, facts, terms, looks) ? ACTIVATE : undefined;
}

/** The CA that signs, other than one that is only prepared. */
function signerAt(state: CaState, nowMs: number): CaEntry | undefined {
  return signersIn(state).find(
    (ca) => ca.state !== 'prepared' && isValidAt(signingLifeOf(state, ca), nowMs),
  );
}

/** A root of our own has to be there first. */
function prepareCa({ state, facts, terms, looks }: Planning): Step | undefined {
  if (terms.upstream === SELF_SIGNED) {
    const root = ownRootIn(state, 'active');
    if (!root || !isValidAt(root.certificate.validity, facts.nowMs)) return undefined;
  }
  return looks.isDue(facts.notBeforeMs) ? { kind: 'prepare', level: 'issuing' } : undefined;
}

/** Whether all proxies have the bundle, or have been waited for. */
function isOpen(
  sinceMs: number,
  endMs: number,
  { nowMs, behind }: Facts,
  { ackTimeoutMs }: PlanTerms,
  looks: Looks,
): boolean {
  // A clock that was set back has nobody wait for longer.
  const from = Math.min(sinceMs, nowMs);
  return behind === 0 || looks.isDue(gateDeadlineMs(from, endMs, ackTimeoutMs));
}

function isUseless(
  state: CaState,
  next: CaEntry,
  signer: CaEntry | undefined,
  { upstream }: PlanTerms,
): boolean {
  if (next.tainted || next.upstream !== upstream) return true;
  if (signer?.state !== 'active' || signer.upstream !== upstream) return false;
  return validityOf(state, next).notAfterMs < validityOf(state, signer).notAfterMs;
}

/** Below a root that ends with the CA lives would halve without end. */
function livesLonger(active: Validity, { state, facts, terms }: Planning): boolean {
  const root = terms.upstream === SELF_SIGNED ? ownRootIn(state, 'active') : undefined;
  const end = root?.certificate.validity.notAfterMs ?? Infinity;
  return Math.min(facts.nowMs + terms.caTtlMs, end) >= active.notAfterMs + 1000;
}
