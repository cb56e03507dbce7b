import {
  belowRoot,
  caIn,
  fingerprint,
  nameOfCa,
  nameOfRoot,
  rootOf,
  SELF_SIGNED,
  validityOf,
  type CaEntry,
  type CaState,
  type KeyName,
  type RootEntry,
} from './ca-state.ts';
import type { UpstreamCertificate } from './upstream-certificates.ts';

/** What a change has to know of its circumstances; times wall clock, lives in milliseconds. */
export interface Moment {
  /** The latest time that anything may have been signed at: a clock that was set back changes nothing. */
  readonly latestMs: number;
  readonly nowMs: number;
  /** Name of the upstream in force. */
  readonly upstream: string;
  /** How much longer than this one other nodes may sign below a root: 0 where they cannot. */
  readonly othersMs: number;
}

/** A CA that was issued and found good. */
export interface NewCa {
  readonly key: KeyName;
  readonly chain: CaEntry['chain'];
  readonly root: UpstreamCertificate;
  /** Others that are to be trusted. */
  readonly told: readonly UpstreamCertificate[];
}

const FRESH = { untilMs: undefined, tainted: false, revoked: false } as const;

/** A root of our own that is in the bundle from now on, and signs nothing yet. */
export function withRoot(
  state: CaState,
  { certificate, key }: { certificate: UpstreamCertificate; key: KeyName },
  moment: Moment,
): CaState {
  const root = { certificate, key, told: false, state: 'prepared', ...FRESH } as const;
  return settle({ ...state, roots: [...state.roots, { ...root, sinceMs: moment.nowMs }] }, moment);
}

/** A CA that signs nothing yet; one that was prepared before it has served its time. */
export function withCa(state: CaState, ca: NewCa, moment: Moment): CaState {
  const known = addRoots(withoutPrepared(state, moment), [ca.root, ...ca.told], moment);
  const { key, chain } = ca;
  const entry: CaEntry = {
    ...{ key, chain, root: fingerprint(ca.root), upstream: moment.upstream },
    ...{ state: 'prepared', sinceMs: moment.nowMs, ...FRESH },
  };
  return settle({ ...known, issuing: [...known.issuing, entry] }, moment);
}

/** From now on these are the roots that the upstream tells of. */
export function withTold(
  state: CaState,
  told: readonly UpstreamCertificate[],
  moment: Moment,
): CaState {
  const now = new Set(told.map(fingerprint));
  const known = addRoots(state, told, moment);
  const roots = known.roots.map((root) => ({
    ...root,
    told: now.has(fingerprint(root.certificate)),
  }));
  return settle({ ...known, roots }, moment);
}

/** Roots that another source of CAs has left; under none of them is signed any more. */
export function withRootsBefore(
  state: CaState,
  before: readonly { certificate: UpstreamCertificate; sinceMs: number; untilMs: number }[],
  moment: Moment,
): CaState {
  const known = new Set(state.roots.map((root) => fingerprint(root.certificate)));
  const added = before
    .filter(({ certificate }) => !known.has(fingerprint(certificate)))
    .map(
      (root) => ({ ...root, key: undefined, told: false, state: 'old', tainted: false }) as const,
    )
    .map((root) => ({ ...root, revoked: false }));
  return settle({ ...state, roots: [...state.roots, ...added] }, moment);
}

/** CAs are asked of the prepared root from now on. */
export function activateRoot(state: CaState, moment: Moment): CaState {
  const roots = state.roots.map((root): RootEntry => {
    if (root.state === 'active') return { ...root, state: 'old' };
    return root.state === 'prepared' && root.key ? { ...root, state: 'active' } : root;
  });
  return settle({ ...state, roots }, moment);
}

/** The prepared CA signs from now on, the one before it is kept for what it has signed. */
export function activateCa(state: CaState, moment: Moment): CaState {
  const issuing = state.issuing.map((ca): CaEntry => {
    if (ca.state === 'active') return retired(state, ca, moment);
    return ca.state === 'prepared' ? { ...ca, state: 'active' } : ca;
  });
  return settle({ ...state, issuing }, moment);
}

/** It was published and may have helped out: its root stays as for one that has signed. */
export function withoutPrepared(state: CaState, moment: Moment): CaState {
  const issuing = state.issuing.map((ca) =>
    ca.state === 'prepared' ? retired(state, ca, moment) : ca,
  );
  return settle({ ...state, issuing }, moment);
}

/** Nothing is signed with these any more, nor below those of them that are roots. */
export function withTaint(state: CaState, names: ReadonlySet<string>, moment: Moment): CaState {
  const roots = state.roots.map((root): RootEntry =>
    names.has(nameOfRoot(root)) ? { ...root, tainted: true, state: 'old' } : root,
  );
  const tainted = new Set(
    roots.filter((root) => root.tainted).map((root) => fingerprint(root.certificate)),
  );
  const issuing = state.issuing.map((ca): CaEntry =>
    names.has(nameOfCa(ca)) || tainted.has(ca.root)
      ? { ...retired(state, ca, moment), tainted: true }
      : ca,
  );
  return settle({ ...state, roots, issuing }, moment);
}

/** A root leaves the bundle, with all that is below it; an issuing CA is to be listed by its root. */
export function withRevocation(
  state: CaState,
  names: ReadonlySet<string>,
  moment: Moment,
): CaState {
  const roots = state.roots.map((root) =>
    names.has(nameOfRoot(root)) ? { ...root, revoked: true } : root,
  );
  const below = new Set(
    roots.filter((root) => root.revoked).flatMap((root) => belowRoot(state, root)),
  );
  const issuing = state.issuing.map((ca) =>
    below.has(ca) || names.has(nameOfCa(ca)) ? { ...ca, revoked: true } : ca,
  );
  return settle({ ...state, roots, issuing }, moment);
}

/**
 * Without what nothing living hangs on; the same object when there is nothing of the kind. What is
 * revoked is remembered to its own end: a root would come back, a CA would not be listed any more.
 */
export function pruned(state: CaState, isOver: (ms: number) => boolean): CaState {
  const issuing = state.issuing.filter((ca) => {
    if (ca.state === 'active') return true;
    const ended = isOver(validityOf(state, ca).notAfterMs);
    return !ended && (ca.revoked || ca.untilMs === undefined || !isOver(ca.untilMs));
  });
  const needed = new Set(issuing.map((ca) => ca.root));
  const roots = state.roots.filter((root) => {
    if (needed.has(fingerprint(root.certificate)) || root.state === 'active') return true;
    if (isOver(root.certificate.validity.notAfterMs)) return false;
    return root.revoked || root.untilMs === undefined || !isOver(root.untilMs);
  });
  const same = issuing.length === state.issuing.length && roots.length === state.roots.length;
  return same ? state : { ...state, issuing, roots };
}

function retired(state: CaState, ca: CaEntry, moment: Moment): CaEntry {
  const { notAfterMs } = validityOf(state, ca);
  const untilMs = ca.untilMs ?? Math.min(notAfterMs, moment.latestMs + state.longestTtlMs);
  return { ...ca, state: 'old', untilMs };
}

function addRoots(
  state: CaState,
  certificates: readonly UpstreamCertificate[],
  { nowMs }: Moment,
): CaState {
  const known = new Set(state.roots.map((root) => fingerprint(root.certificate)));
  const roots = [...state.roots];
  for (const certificate of certificates) {
    const print = fingerprint(certificate);
    if (known.has(print)) continue;
    known.add(print);
    const root = { certificate, key: undefined, told: true, state: 'prepared', ...FRESH } as const;
    roots.push({ ...root, sinceMs: nowMs });
  }
  return { ...state, roots };
}

/** What follows for the roots from the CAs below them and from what the upstream tells. */
function settle(state: CaState, moment: Moment): CaState {
  const isOwn = moment.upstream === SELF_SIGNED;
  const active = caIn(state, 'active');
  const top = active && rootOf(state, active);
  const ownActive = isOwn && state.roots.some((root) => root.state === 'active' && root.key);
  const roots = state.roots.map((root): RootEntry => {
    const holds = belowRoot(state, root).some((ca) => ca.state !== 'old');
    const slot = slotOf(root, {
      isOwn,
      holds,
      isTop: root === top && !ownActive,
    });
    if (holds || root.told || slot !== 'old') return { ...root, state: slot, untilMs: undefined };
    const lastMs = moment.latestMs + state.longestTtlMs + moment.othersMs;
    const untilMs = root.untilMs ?? Math.min(root.certificate.validity.notAfterMs, lastMs);
    return { ...root, state: slot, untilMs };
  });
  return { ...state, roots };
}

function slotOf(
  { tainted, key, state, told }: RootEntry,
  { isOwn, holds, isTop }: { isOwn: boolean; holds: boolean; isTop: boolean },
): RootEntry['state'] {
  if (tainted) return 'old';
  // Those of our own have their turns; others go as the CAs below them go.
  if (isOwn && key) return state;
  if (isTop) return 'active';
  return state === 'prepared' && (told || holds) ? 'prepared' : 'old';
}
