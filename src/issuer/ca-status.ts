import type { Authority } from './authority.ts';
import type { CaCertificate } from './ca-certificate.ts';
import type { AuthorityStatus } from './ca-source.ts';
import type { CrlSigner, RevokedAuthority } from './crl-signers.ts';
import {
  authorityName,
  nameOfCa,
  nameOfRoot,
  rootOf,
  validityOf,
  type CaEntry,
  type CaState,
  type RootEntry,
  type Slot,
} from './ca-state.ts';
import type { SigningKey } from './keys.ts';

const ROOT_SLOTS = { active: 'root', prepared: 'root_prepared', old: 'kept' } as const;
const CA_SLOTS = { active: 'active', prepared: 'prepared', old: 'kept' } as const;
const STATES = {
  root: 'active',
  root_prepared: 'prepared',
  active: 'active',
  prepared: 'prepared',
  kept: 'old',
} as const;
const IN_ORDER: Readonly<Record<Slot, number>> = { active: 0, prepared: 1, old: 2 };

/** All authorities for operators, those in use first. */
export function statusOf(state: CaState): readonly AuthorityStatus[] {
  const roots = state.roots.map(statusOfRoot);
  const cas = state.issuing.map((ca) => statusOfCa(state, ca));
  return [...roots, ...cas].sort((a, b) => IN_ORDER[a.state] - IN_ORDER[b.state]);
}

function statusOfRoot(root: RootEntry): AuthorityStatus {
  const { certificate, key } = root;
  return {
    ...{ slot: ROOT_SLOTS[root.state], level: 'root', id: nameOfRoot(root) },
    ...lifeOf(root),
    ...{ subject: certificate.subjectText, serial: certificate.serial, ...certificate.validity },
    keyType: key?.type,
  };
}

function statusOfCa(state: CaState, ca: CaEntry): AuthorityStatus {
  const [{ subjectText: subject, serial }] = ca.chain;
  const root = rootOf(state, ca);
  return {
    ...{ slot: CA_SLOTS[ca.state], level: 'issuing', id: nameOfCa(ca) },
    rootId: root && nameOfRoot(root),
    ...lifeOf(ca),
    ...{ subject, serial, ...validityOf(state, ca) },
    keyType: ca.key.type,
  };
}

const lifeOf = ({ state, sinceMs, untilMs, tainted, revoked }: RootEntry | CaEntry) => ({
  ...{ state, sinceMs, untilMs, tainted, revoked },
});

/** One of which nobody keeps more than that. */
export function authorityStatus(
  slot: AuthorityStatus['slot'],
  { certificate, key, validity }: Authority,
): AuthorityStatus {
  return { ...rootStatus(slot, certificate), ...validity, level: 'issuing', keyType: key.type };
}

export function rootStatus(
  slot: AuthorityStatus['slot'],
  certificate: CaCertificate,
): AuthorityStatus {
  const { subjectText: subject, serial, validity } = certificate;
  return {
    ...{ slot, level: 'root', state: STATES[slot], id: authorityName(certificate) },
    ...{ subject, serial, ...validity, tainted: false, revoked: false, keyType: undefined },
  };
}

/** What can sign CRLs of its own: the keys of what has ended are gone, or about to be. */
export function crlSignersOf(
  state: CaState,
  keyOf: (id: string) => SigningKey | undefined,
): readonly CrlSigner[] {
  const roots = state.roots.flatMap(({ certificate, key: name, revoked }) => {
    const key = name && keyOf(name.id);
    return key && !revoked ? [{ certificate, key }] : [];
  });
  const cas = state.issuing.flatMap(({ chain: [certificate], key: name }) => {
    const key = keyOf(name.id);
    return key ? [{ certificate, key }] : [];
  });
  return [...roots, ...cas];
}

/** The CAs that roots of our own have to list. */
export function revokedIn(state: CaState): readonly RevokedAuthority[] {
  return state.issuing.flatMap((ca) => {
    const root = rootOf(state, ca);
    const [{ serial, validity }] = ca.chain;
    if (!ca.revoked || !root?.key || root.revoked) return [];
    const issuerKeyId = nameOfRoot(root);
    return [{ issuerKeyId, serial, notAfterMs: validity.notAfterMs }];
  });
}
