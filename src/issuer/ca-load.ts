import { IdentityError } from '../core/errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { nameOfCa, nameOfRoot, type CaState, type KeyName } from './ca-state.ts';
import type { KeyManager, SigningKey } from './keys.ts';
import { beginJournal, type AuthorityStore } from './store.ts';
import { unusable } from './unusable.ts';
import type { UpstreamCertificate } from './upstream-certificates.ts';

/** What a start continues with. */
export interface Loaded {
  readonly state: CaState;
  /** The keys of all that has not ended, by name. */
  readonly keys: ReadonlyMap<string, SigningKey>;
}

/**
 * Reads the journal, or begins one, and finds the keys that it names. Throws `ERR_KEY_STORE` for what
 * does not fit together and changes nothing then; `ERR_DISK`.
 */
export async function loadAuthorities(
  store: AuthorityStore,
  trustDomain: TrustDomain,
  first: { readonly nowMs: number; readonly longestTtlMs: number },
): Promise<Loaded> {
  const { journal, keys } = store;
  const { nowMs } = first;
  const state = journal.read() ?? (await beginJournal(store, trustDomain, first));
  if (state.trustDomain !== trustDomain) {
    throw new IdentityError(
      'ERR_KEY_STORE',
      `${journal.path} belongs to the trust domain ${state.trustDomain}, the configuration says ${trustDomain}`,
      { hint: 'set trust_domain back, or give the new trust domain a data_dir of its own' },
    );
  }
  const loaded = new Map<string, SigningKey>();
  for (const { what, key, certificate } of keyed(state)) {
    // What has ended signs nothing, whether its key is there or not.
    if (certificate.validity.notAfterMs <= nowMs) continue;
    loaded.set(key.id, await loadKey(keys, key, certificate, `the ${what} in ${journal.path}`));
  }
  return { state, keys: loaded };
}

/** The key of a certificate; `ERR_KEY_STORE` when it is not there or another one. */
export async function loadKey(
  keys: Pick<KeyManager, 'load'>,
  { id, type }: KeyName,
  certificate: UpstreamCertificate,
  what: string,
): Promise<SigningKey> {
  const key = await keys.load(id, type);
  if (key.spki.equals(certificate.spki)) return key;
  throw unusable(what, `the key ${id} does not fit it`);
}

function keyed({ roots, issuing }: CaState) {
  return [
    ...roots.flatMap((root) => {
      const { key, certificate } = root;
      return key ? [{ what: `root ${nameOfRoot(root)}`, key, certificate }] : [];
    }),
    ...issuing.map((ca) => {
      const { key, chain } = ca;
      return { what: `issuing CA ${nameOfCa(ca)}`, key, certificate: chain[0] };
    }),
  ];
}
