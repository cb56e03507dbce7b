import { errorText, IdentityError } from '../core/errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { ownAuthority, type Authority } from './authority.ts';
import { checkIssuedBy, readCaCertificate, type CaCertificate } from './ca-certificate.ts';
import type { JournalAuthority, JournalState } from './journal-text.ts';
import type { AuthorityStore } from './store.ts';
import { unusable } from './unusable.ts';

/** An authority as the journal names it; its key has not been looked at. */
interface Recorded {
  readonly entry: JournalAuthority;
  readonly certificate: CaCertificate;
}

/** The journal's authorities, at most one in each role. */
interface RecordedAuthorities {
  readonly root?: Recorded;
  readonly issuing?: Recorded;
}

/** Reads a journal's certificates; `ERR_KEY_STORE` for what does not fit together. */
export function readRecorded(
  state: JournalState,
  trustDomain: TrustDomain,
  path: string,
): RecordedAuthorities {
  checkTrustDomain(state, trustDomain, path);
  const recorded: { root?: Recorded; issuing?: Recorded } = {};
  for (const entry of state.authorities) {
    const certificate = attempt(entry, path, () =>
      readCaCertificate(entry.certificate, trustDomain),
    );
    recorded[entry.role] = { entry, certificate };
  }
  const { root, issuing } = recorded;
  for (const item of [root, issuing]) {
    if (item && root) {
      attempt(item.entry, path, () => checkIssuedBy(item.certificate, root.certificate));
    }
  }
  return recorded;
}

/** A recorded authority with its key; `ERR_KEY_STORE` when that is not there or another one. */
export async function loadRecorded(
  { keys, journal }: AuthorityStore,
  { entry, certificate }: Recorded,
): Promise<Authority> {
  const key = await keys.load(entry.keyId, entry.keyType);
  if (key.spki.equals(certificate.spki)) return ownAuthority(certificate, key);
  throw unusable(nameOf(entry, journal.path), `the key ${entry.keyId} does not fit it`);
}

/** The other way: an authority as the journal is to name it. */
export function toEntry(
  role: 'root' | 'issuing',
  { certificate, key }: Authority,
): JournalAuthority {
  return { role, state: 'active', keyId: key.id, keyType: key.type, certificate: certificate.der };
}

function attempt<T>(entry: JournalAuthority, path: string, step: () => T): T {
  try {
    return step();
  } catch (thrown) {
    throw unusable(nameOf(entry, path), errorText(thrown), thrown);
  }
}

function nameOf({ role }: JournalAuthority, path: string): string {
  return `the ${role === 'root' ? 'root' : 'issuing CA'} in ${path}`;
}

function checkTrustDomain(state: JournalState, trustDomain: TrustDomain, path: string): void {
  if (state.trustDomain === trustDomain) return;
  throw new IdentityError(
    'ERR_KEY_STORE',
    `${path} belongs to the trust domain ${state.trustDomain}, the configuration says ${trustDomain}`,
    { hint: 'set trust_domain back, or give the new trust domain a data_dir of its own' },
  );
}
