import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { KeyRecord } from './key-record.ts';
import { withNodeAdmitted, withNodeRevoked } from './root-plan.ts';
import type { StateStore } from './secret-store.ts';
import type { SignerState } from './signer-state.ts';

export interface CutOffDeps {
  readonly store: StateStore;
  readonly record: Pick<KeyRecord, 'mayHaveCa'>;
  readonly clock: Pick<Clock, 'now'>;
  /** Whether the state may be one that nobody has written yet: roots are not in it. */
  readonly mayBegin: boolean;
  readonly signal: AbortSignal;
}

/** What it came to. */
export interface CutOff {
  /** Whether anything has changed for the node. */
  readonly isNew: boolean;
  /** Whether the roots are replaced, as a CA of the node may live. */
  readonly isTainted: boolean;
}

/** Others write now and then. */
const ATTEMPTS = 20;

/**
 * Cuts a node off. First it is written down that it gets nothing, then the record says whether it
 * has something: a signer writes into the record before it looks whether the node is cut off, so one
 * of both sees the other. CRLs would grow with every node; a root that nobody trusts needs none.
 */
export async function cutOffNode(
  { node, isUndo }: { readonly node: string; readonly isUndo: boolean },
  deps: CutOffDeps,
): Promise<CutOff> {
  if (isUndo) {
    const isNew = await change(deps, (state) =>
      state.revoked.has(node) ? withNodeAdmitted(state, node) : undefined,
    );
    return { isNew, isTainted: false };
  }
  const nowMs = deps.clock.now();
  const isNew = await change(deps, (state) =>
    state.revoked.has(node) ? undefined : withNodeRevoked(state, node, nowMs, false),
  );
  const { signal } = deps;
  const mayHaveCa = await deps.record.mayHaveCa(node, { signal });
  // Also when it was cut off before: the one who did so may have come no further than that.
  if (!mayHaveCa || (!isNew && (await wasTaintedSince(node, deps)))) {
    return { isNew, isTainted: false };
  }
  await change(deps, (state) => withNodeRevoked(state, node, nowMs, true));
  return { isNew, isTainted: true };
}

/** Whether all that signed when the node was cut off is being left, or is left already. */
async function wasTaintedSince(node: string, { store, signal }: CutOffDeps): Promise<boolean> {
  const { state } = await store.read({ signal });
  const sinceMs = state.revoked.get(node) ?? 0;
  return state.roots.every(
    ({ slot, isTainted, publishedAtMs }) =>
      slot === 'prepared' || isTainted || (publishedAtMs ?? 0) > sinceMs,
  );
}

/** False when there was nothing to change. */
async function change(
  { store, signal, mayBegin }: CutOffDeps,
  next: (state: SignerState) => SignerState | undefined,
): Promise<boolean> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const before = await store.read({ signal });
    if (before.state.revision === 0 && !mayBegin) {
      throw new IdentityError('ERR_ISSUER', 'no signer has written its state yet', {
        hint: 'signer.secret of the configuration names its Secret',
      });
    }
    const state = next(before.state);
    if (!state) return false;
    if (await store.write(before, state, { signal })) return true;
  }
  throw new IdentityError(
    'ERR_ISSUER',
    `the state of the signer changed ${ATTEMPTS} times meanwhile`,
  );
}
