import { isValidAt } from '../issuer/authority.ts';
import type { Root, SignerState } from './signer-state.ts';

/** When roots are replaced; milliseconds. */
export interface RootTimes {
  readonly rootTtlMs: number;
  /** How long a root is published before anything is signed with it. */
  readonly newRootDelayMs: number;
  /** The same when a node is cut off; and how long all others then have to ask anew. */
  readonly revocationDelayMs: number;
  /** The longest life of anything below a root. */
  readonly maxTtlMs: number;
}

/** What is to be done with the roots now. */
export type RootStep =
  | { readonly kind: 'make'; readonly slot: 'active' | 'prepared' }
  | { readonly kind: 'activate'; readonly root: Root }
  | { readonly kind: 'drop'; readonly root: Root }
  | { readonly kind: 'wait'; readonly untilMs: number };

/** Shares of a root's life after which the next one is made, and after which that one signs. */
const PREPARE_AT = 1 / 2;
const ACTIVATE_AT = 5 / 6;
/** ± share of the life, one for each root: all replicas come to the same. */
const JITTER = 0.05;
/** For validators whose clocks run behind. */
const SKEW_MS = 300_000;

/**
 * The next thing to do, a pure function of what all replicas see. `isUsable` says whether the key of
 * a root is there: one whose key is lost signs nothing, but what it has signed goes on.
 */
export function nextRootStep(
  state: SignerState,
  nowMs: number,
  times: RootTimes,
  isUsable: (root: Root) => boolean,
): RootStep {
  const { roots } = state;
  // Nobody trusts anything yet: there is nobody to wait for.
  if (roots.length === 0) return { kind: 'make', slot: 'active' };
  const signs = (root: Root | undefined) =>
    root !== undefined && isUsable(root) && isValidAt(root.certificate.validity, nowMs);
  const active = roots.find(({ slot }) => slot === 'active');
  const prepared = roots.find(({ slot }) => slot === 'prepared');
  const gone = roots.find((root) => isOver(root, nowMs) || (root === prepared && !signs(root)));
  if (gone) return { kind: 'drop', root: gone };
  const isUrgent = !signs(active) || active?.isTainted === true;
  const mark = (share: number) => (active && !isUrgent ? lifeMark(active, share) : nowMs);
  if (!prepared) {
    const untilMs = mark(PREPARE_AT);
    if (untilMs <= nowMs) return { kind: 'make', slot: 'prepared' };
    return { kind: 'wait', untilMs: Math.min(untilMs, ...ends(roots)) };
  }
  if (prepared.publishedAtMs === undefined) {
    return { kind: 'wait', untilMs: Math.min(...ends(roots)) };
  }
  const delayMs = active?.isTainted ? times.revocationDelayMs : times.newRootDelayMs;
  const untilMs = Math.max(mark(ACTIVATE_AT), prepared.publishedAtMs + delayMs);
  if (untilMs <= nowMs) return { kind: 'activate', root: prepared };
  return { kind: 'wait', untilMs: Math.min(untilMs, ...ends(roots)) };
}

/** An old one that nothing hangs on any more, or any that has run out, save the last that has signed. */
function isOver({ slot, untilMs, certificate }: Root, nowMs: number): boolean {
  if (slot === 'active') return false;
  return (untilMs ?? Infinity) <= nowMs || certificate.validity.notAfterMs <= nowMs;
}

const ends = (roots: readonly Root[]) =>
  roots.map(({ slot, untilMs, certificate }) =>
    slot === 'active' ? Infinity : Math.min(untilMs ?? Infinity, certificate.validity.notAfterMs),
  );

function lifeMark({ certificate: { validity, keyId } }: Root, share: number): number {
  const lifeMs = validity.notAfterMs - validity.notBeforeMs;
  const drawn = (keyId.readUInt16BE(0) / 0xffff) * 2 - 1;
  return validity.notBeforeMs + lifeMs * (share + drawn * JITTER);
}

/** The state in which the prepared root signs, and the one before is old. */
export function activated(state: SignerState, nowMs: number, times: RootTimes): SignerState {
  return changed(state, {
    roots: state.roots.map((root) => {
      if (root.slot === 'prepared') return { ...root, slot: 'active', untilMs: undefined };
      // The others ask anew, and their workloads get what is below the new root.
      if (root.isTainted) {
        const untilMs = Math.min(root.untilMs ?? Infinity, nowMs + times.revocationDelayMs);
        return { ...root, slot: 'old', untilMs };
      }
      if (root.slot === 'old') return root;
      return { ...root, slot: 'old', untilMs: nowMs + times.maxTtlMs + SKEW_MS };
    }),
  });
}

/** The state with other roots, one revision later. */
export function changed(
  state: SignerState,
  change: Partial<Pick<SignerState, 'roots' | 'revoked'>>,
): SignerState {
  return { ...state, ...change, revision: state.revision + 1 };
}

/** The state in which a node is cut off; with `taint` also what it may have a CA of. */
export function withNodeRevoked(
  state: SignerState,
  node: string,
  nowMs: number,
  taint: boolean,
): SignerState {
  const revoked = new Map(state.revoked).set(node, state.revoked.get(node) ?? nowMs);
  const roots = state.roots.map((root) =>
    taint && root.slot !== 'prepared' ? { ...root, isTainted: true } : root,
  );
  return changed(state, { revoked, roots });
}

export function withNodeAdmitted(state: SignerState, node: string): SignerState {
  const revoked = new Map(state.revoked);
  revoked.delete(node);
  return changed(state, { revoked });
}

/** The roots below which nobody is to stay: there is one that signs in their place. */
export function leftRoots({ roots }: SignerState): readonly Root[] {
  return roots.filter(({ slot, isTainted }) => slot === 'old' && isTainted);
}
