import { CLIENT_AUTH, KEY_USAGE, SERVER_AUTH } from '../identity/certificate.ts';
import { isTakenKey, TAKEN_KEYS } from '../identity/public-key.ts';
import { trustDomainId, type TrustDomain } from '../identity/spiffe-id.ts';
import { isoTime } from './authority.ts';
import { nameConstraintFault } from './name-constraints.ts';
import type { UpstreamCertificate } from './upstream-certificates.ts';

/** anyExtendedKeyUsage (RFC 5280 4.2.1.12), as DER. */
const ANY_PURPOSE = Buffer.from('0604551d2500', 'hex');
const EMPTY_NAME = 2;
/** Signatures that peers refuse: MD5 and SHA-1 with RSA, SHA-1 with ECDSA; OIDs as DER. */
const WEAK = ['06092a864886f70d010104', '06092a864886f70d010105', '06072a8648ce3d0401'].map((oid) =>
  Buffer.from(oid, 'hex'),
);

export interface Place {
  /** CAs below it on the way to a leaf. */
  readonly below: number;
  readonly isRoot: boolean;
  /** Absent: its time and its names are looked at elsewhere. */
  readonly nowMs?: number;
  readonly trustDomain?: TrustDomain;
}

/** What keeps a certificate from being a CA at its place; undefined when nothing does. */
export function caFault(ca: UpstreamCertificate, place: Place): string | undefined {
  const { facts } = ca;
  const { nowMs, trustDomain, below, isRoot } = place;
  if (!facts.isCa) return 'X5-20: expected a CA (basicConstraints with cA true)';
  // RFC 5280 4.2.1.3: without the extension every use is allowed; old roots have none.
  const mayCertify = (facts.keyUsage & KEY_USAGE.keyCertSign) !== 0;
  if (!mayCertify && !(isRoot && facts.keyUsage === 0)) {
    return 'X5-20: expected keyCertSign in its key usage';
  }
  if (facts.pathLength !== undefined && facts.pathLength < below) {
    return `its path length is ${facts.pathLength}, but ${below} CAs are below it`;
  }
  if (facts.subject.length <= EMPTY_NAME) return 'RFC 5280 4.1.2.6: expected a subject';
  return (
    (isTakenKey(ca.publicKey) ? undefined : `expected ${TAKEN_KEYS}`) ??
    useFault(ca, isRoot) ??
    (trustDomain === undefined ? undefined : namesFault(ca, trustDomain)) ??
    (nowMs === undefined ? undefined : timeFault(ca, nowMs))
  );
}

/** X5-23..X5-25: it has no URI name, or the trust domain's ID as the only one. */
function nameFault(ca: UpstreamCertificate, trustDomain: TrustDomain): string | undefined {
  const { uris } = ca.facts;
  const id = trustDomainId(trustDomain);
  if (uris.length === 0 || (uris.length === 1 && uris[0] === id)) return undefined;
  return `X5-24, X5-25: expected ${id} as its one URI name, or none, found ${uris.join(', ')}`;
}

/** What is wrong with its own name, or with what it says of the names below it (X5-29). */
export function namesFault(ca: UpstreamCertificate, trustDomain: TrustDomain): string | undefined {
  const { nameConstraints } = ca.facts;
  const constraint = nameConstraints && nameConstraintFault(nameConstraints, trustDomain);
  return nameFault(ca, trustDomain) ?? constraint;
}

export function timeFault({ validity }: UpstreamCertificate, nowMs: number): string | undefined {
  const { notBeforeMs, notAfterMs } = validity;
  if (nowMs < notBeforeMs) {
    return `it is valid from ${isoTime(notBeforeMs)}, but it is ${isoTime(nowMs)}`;
  }
  return nowMs + 1000 > notAfterMs ? `it expired at ${isoTime(notAfterMs)}` : undefined;
}

/** What an issuing CA should not have, and peers do not mind. */
export function caDoubts({ subjectText, facts }: UpstreamCertificate): readonly string[] {
  const beyond = facts.keyUsage & ~(KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign);
  return beyond === 0
    ? []
    : [
        `${subjectText}: X5-22: its key usage allows more than signing certificates (cert-manager: usages: [cert sign, crl sign])`,
      ];
}

/** Validators that read an extended key usage of a CA hold it against the leaves. */
function useFault({ facts, der }: UpstreamCertificate, isRoot: boolean): string | undefined {
  const { purposes, unreadCritical } = facts;
  const all = purposes?.some((one) => one.equals(ANY_PURPOSE)) ?? true;
  const both = [SERVER_AUTH, CLIENT_AUTH].every((want) => purposes?.some((p) => p.equals(want)));
  if (!all && !both) {
    return 'X5-30: its extended key usage lacks serverAuth or clientAuth, which leaves then lack too';
  }
  if (unreadCritical.length > 0) {
    return `it has a critical extension (OID ${unreadCritical.join(', ')} in hex) that credence does not know`;
  }
  // A root's own signature proves nothing, so nobody looks at it.
  const weak = !isRoot && WEAK.some((oid) => der.includes(oid));
  return weak ? 'it is signed with MD5 or SHA-1, which peers refuse' : undefined;
}
