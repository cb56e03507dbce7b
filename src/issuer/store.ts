import { join } from 'node:path';
import { IdentityError } from '../core/errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { createDiskKeys } from './disk-keys.ts';
import { createDiskJournal, createMemoryJournal, type Journal } from './journal.ts';
import type { CaState } from './ca-state.ts';
import type { KeyManager } from './keys.ts';
import { createMemoryKeys } from './memory-keys.ts';
import { ensurePrivateFolder } from './private-files.ts';

/** What survives of the issuer: keys and the journal that names them. */
export interface AuthorityStore {
  readonly keys: KeyManager;
  readonly journal: Journal;
}

export type KeyManagerType = 'disk' | 'memory' | 'pkcs11';

/**
 * Opens the store; creates `dataDir` unless all is in memory, and refuses one that others may reach.
 * `keys` are those of a token: then the journal alone is on disk.
 */
export function openStore(
  type: KeyManagerType,
  dataDir: string,
  keys: KeyManager | undefined,
): AuthorityStore {
  if (type === 'memory') {
    return { keys: keys ?? createMemoryKeys(), journal: createMemoryJournal() };
  }
  // Never in files what is meant to be on a token.
  if (type === 'pkcs11' && !keys) throw new TypeError('the keys of a token were not handed over');
  ensurePrivateFolder(dataDir);
  return {
    keys: keys ?? createDiskKeys(join(dataDir, 'keys')),
    journal: createDiskJournal(join(dataDir, 'journal.json')),
  };
}

/** The empty journal of a first start. */
export async function beginJournal(
  store: AuthorityStore,
  trustDomain: TrustDomain,
  { nowMs, longestTtlMs }: { readonly nowMs: number; readonly longestTtlMs: number },
): Promise<CaState> {
  await refuseLostJournal(store);
  // The clock as the first number: a daemon that lost its disk still never counts backwards.
  const first = {
    ...{ trustDomain, bundleSequence: Math.floor(nowMs / 1000), writtenMs: nowMs },
    ...{ longestTtlMs, roots: [], issuing: [] },
  };
  store.journal.write(first);
  return first;
}

/**
 * Refuses keys that no journal names. A first start writes an empty journal before its first key,
 * so this is a journal that went missing, and a new root would lock out everybody who trusts the old.
 */
async function refuseLostJournal(store: AuthorityStore): Promise<void> {
  const ids = await store.keys.ids();
  if (ids.length === 0) return;
  throw new IdentityError(
    'ERR_KEY_STORE',
    `${store.journal.path} is missing, but there are ${ids.length} CA keys beside it`,
    {
      hint: 'restore the journal from a backup; to start anew with a new root, which every peer then has to learn, move the keys away',
    },
  );
}
