import { join } from 'node:path';
import { writeFileAtomic } from '../core/atomic-file.ts';
import { IdentityError } from '../core/errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { ensurePrivateFolder, readPrivateFile } from './private-files.ts';
import {
  formatRevocations,
  parseRevocations,
  type Revocation,
  type RevocationState,
} from './revocation-text.ts';

/** Keeps the record; `write` replaces it whole or throws `ERR_DISK`. */
export interface RevocationStore {
  /** For messages. */
  readonly path: string;
  /** Undefined when nothing was ever revoked; `ERR_KEY_STORE` when it cannot be trusted. */
  read(): RevocationState | undefined;
  write(state: RevocationState): void;
}

/** A thousand revocations of the longest SPIFFE IDs, escaped and indented. */
const MAX_BYTES = 4_194_304;

export function createMemoryRevocations(): RevocationStore {
  let kept: RevocationState | undefined;
  return { path: 'memory', read: () => kept, write: (state) => void (kept = state) };
}

/** As `revocations.json` in a folder of this user alone. */
export function createDiskRevocations(dataDir: string): RevocationStore {
  ensurePrivateFolder(dataDir);
  const path = join(dataDir, 'revocations.json');
  return {
    path,
    read() {
      const bytes = readPrivateFile(path, MAX_BYTES);
      return bytes && parseRevocations(bytes.toString('utf8'), path);
    },
    write: (state) => writeFileAtomic(path, formatRevocations(state), 0o600),
  };
}

/** What is revoked, and numbers for CRLs that never fall, not over a restart either. */
export interface RevocationRecord {
  revoked(): readonly Revocation[];
  /** Throws `ERR_DISK`, and nothing is changed then. */
  replace(revoked: readonly Revocation[]): void;
  /** The number of the last CRLs, 0 before any. */
  readonly number: number;
  /** One that was never used; throws `ERR_DISK` when that cannot be kept. */
  next(): number;
}

/** Reserved at a time, so that a full disk does not keep CRLs from being refreshed for months. */
const RESERVED = 256;

/** Continues with a store; `ERR_KEY_STORE` when it is of another trust domain or cannot be read. */
export function openRevocationRecord(
  store: RevocationStore,
  trustDomain: TrustDomain,
): RevocationRecord {
  let state = store.read() ?? { trustDomain, nextNumber: 1, revoked: [] };
  if (state.trustDomain !== trustDomain) {
    throw new IdentityError(
      'ERR_KEY_STORE',
      `${store.path} belongs to the trust domain ${state.trustDomain}, the configuration says ${trustDomain}`,
      { hint: 'set trust_domain back, or give the new trust domain a data_dir of its own' },
    );
  }
  let number = state.nextNumber - 1;

  function keep(next: RevocationState): void {
    store.write(next);
    state = next;
  }
  return {
    revoked: () => state.revoked,
    replace: (revoked) => keep({ ...state, revoked }),
    get number() {
      return number;
    },
    next() {
      if (number + 1 >= state.nextNumber) keep({ ...state, nextNumber: number + 1 + RESERVED });
      return ++number;
    },
  };
}
