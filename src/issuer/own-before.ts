import { join } from 'node:path';
import type { Logger } from '../core/log.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { isValidAt, type Authority } from './authority.ts';
import type { CaCertificate } from './ca-certificate.ts';
import { loadKey } from './ca-load.ts';
import {
  belowRoot,
  caIn,
  rootOf,
  trustedIn,
  validityOf,
  type CaState,
  type RootEntry,
} from './ca-state.ts';
import { createDiskKeys } from './disk-keys.ts';
import { createDiskJournal } from './journal.ts';
import type { KeyManager } from './keys.ts';

/** What this node trusted and signed with before its CA came from files. */
export interface OwnBefore {
  /** Each until no SVID below it can live any more, wall clock. */
  readonly roots: readonly { readonly certificate: CaCertificate; readonly untilMs: number }[];
  /** The CA that signed and the root above it, while it is valid; undefined without its key. */
  readonly signer: { readonly authority: Authority; readonly root: CaCertificate } | undefined;
  readonly bundleSequence: number;
}

/**
 * Reads it from the journal in `dataDir` and leaves that as it is. Undefined when there is none, or
 * nothing below its roots can be valid any more, or it is of another trust domain. Throws
 * `ERR_KEY_STORE` for a journal that cannot be trusted.
 */
export async function readOwnBefore(
  dataDir: string,
  trustDomain: TrustDomain,
  { nowMs, log, keys }: { nowMs: number; log: Logger; keys: KeyManager | undefined },
): Promise<OwnBefore | undefined> {
  const state = createDiskJournal(join(dataDir, 'journal.json')).read();
  if (state?.trustDomain !== trustDomain) return undefined;
  const roots = trustedIn(state)
    .map((root) => ({ certificate: root.certificate, untilMs: lastEndBelow(state, root) }))
    .filter(({ untilMs }) => untilMs > nowMs);
  if (roots.length === 0) return undefined;
  const { bundleSequence } = state;
  const active = caIn(state, 'active');
  const root = active && rootOf(state, active)?.certificate;
  if (!active || !root || !isValidAt(validityOf(state, active), nowMs)) {
    return { roots, signer: undefined, bundleSequence };
  }
  try {
    const [certificate] = active.chain;
    const from = keys ?? createDiskKeys(join(dataDir, 'keys'));
    const key = await loadKey(from, active.key, certificate, 'the issuing CA of this node');
    const { chain } = active;
    const authority = { certificate, key, chain, validity: validityOf(state, active) };
    return { roots, signer: { authority, root }, bundleSequence };
  } catch (thrown) {
    log.warn({ err: thrown }, 'the CA that this node made itself cannot sign any more');
    return { roots, signer: undefined, bundleSequence };
  }
}

/** What is signed from now on ends with its CA at the latest. */
function lastEndBelow(state: CaState, root: RootEntry): number {
  const ends = belowRoot(state, root).map((ca) =>
    Math.min(validityOf(state, ca).notAfterMs, ca.untilMs ?? Infinity),
  );
  const end = root.certificate.validity.notAfterMs;
  return Math.min(end, Math.max(0, root.untilMs ?? 0, ...ends));
}
