import { hash } from 'node:crypto';
import type { KeyType } from './key-type.ts';
import type { Validity } from './profile.ts';
import { commonValidity } from './ca-path.ts';
import { subjectKeyId } from './subject-key-id.ts';
import type { UpstreamCertificate } from './upstream-certificates.ts';

/** Where an authority is in its life: published and not used yet, in use, replaced. */
export type Slot = 'prepared' | 'active' | 'old';

/** A key by its name in the key manager. */
export interface KeyName {
  readonly id: string;
  readonly type: KeyType;
}

interface Life {
  readonly state: Slot;
  /** Since when it is here; of a root: in the bundle. Wall clock in milliseconds, as all times. */
  readonly sinceMs: number;
  /** When nothing that it has signed can be valid any more; undefined while it may sign. */
  readonly untilMs: number | undefined;
  /** Nothing is signed with it, or below it, any more; for good. */
  readonly tainted: boolean;
  /** Not to be trusted: a root is out of the bundle. */
  readonly revoked: boolean;
}

/** A root that is trusted, or is not to be trusted again. */
export interface RootEntry extends Life {
  readonly certificate: UpstreamCertificate;
  /** Undefined where the key was never here. */
  readonly key: KeyName | undefined;
  /** Whether the upstream tells of it. */
  readonly told: boolean;
}

/** A CA below a root, which signs leaves. */
export interface CaEntry extends Life {
  readonly key: KeyName;
  /** Itself first, then what is between it and its root. */
  readonly chain: readonly [UpstreamCertificate, ...UpstreamCertificate[]];
  /** `fingerprint` of its root. */
  readonly root: string;
  /** Name of the upstream that has signed it. */
  readonly upstream: string;
}

/** All authorities as of one moment, as the journal keeps them; replaced whole. */
export interface CaState {
  readonly trustDomain: string;
  readonly bundleSequence: number;
  /** When it was kept. */
  readonly writtenMs: number;
  /** The longest life that an SVID was given. */
  readonly longestTtlMs: number;
  readonly roots: readonly RootEntry[];
  readonly issuing: readonly CaEntry[];
}

/** Name of the upstream that a root of our own is. */
export const SELF_SIGNED = 'self_signed';

/** Which certificate it is, whatever it says of itself. */
export function fingerprint({ der }: { readonly der: Buffer }): string {
  return hash('sha256', der, 'hex');
}

/** An authority's name: its subject key identifier in hex, which old roots do not state. */
export function authorityName({ keyId, spki }: { keyId: Buffer; spki: Buffer }): string {
  return (keyId.length > 0 ? keyId : subjectKeyId(spki)).toString('hex');
}

export const nameOfRoot = (root: RootEntry) => authorityName(root.certificate);
export const nameOfCa = (ca: CaEntry) => authorityName(ca.chain[0]);

export const rootOf = (state: CaState, ca: CaEntry) =>
  state.roots.find((root) => fingerprint(root.certificate) === ca.root);

export const belowRoot = (state: CaState, root: RootEntry) =>
  state.issuing.filter((ca) => ca.root === fingerprint(root.certificate));

export const caIn = (state: CaState, slot: 'active' | 'prepared') =>
  state.issuing.find((ca) => ca.state === slot);

/** A root of our own in that slot, which can be signed with. */
export const ownRootIn = (state: CaState, slot: 'active' | 'prepared') =>
  state.roots.find((root) => root.state === slot && root.key && !root.tainted);

/** When the CA and everything above it is valid. */
export function validityOf(state: CaState, ca: CaEntry): Validity {
  const root = rootOf(state, ca);
  return commonValidity(root ? [...ca.chain, root.certificate] : ca.chain);
}

/**
 * When a CA may sign: one that was replaced helps out where its follower cannot, with nothing that
 * outlives what it has signed before, as its root is kept no longer.
 */
export function signingLifeOf(state: CaState, ca: CaEntry): Validity {
  const { notBeforeMs, notAfterMs } = validityOf(state, ca);
  return { notBeforeMs, notAfterMs: Math.min(notAfterMs, ca.untilMs ?? Infinity) };
}

const ORDER: Readonly<Record<Slot, number>> = { active: 0, old: 1, prepared: 2 };

/** The CAs that could sign, the best first: that in use, then those whose roots are known longest. */
export function signersIn(state: CaState): readonly CaEntry[] {
  return state.issuing
    .filter((ca) => !ca.tainted && !ca.revoked && !(rootOf(state, ca)?.tainted ?? true))
    .sort((a, b) => ORDER[a.state] - ORDER[b.state] || b.sinceMs - a.sinceMs);
}

/** The roots to be trusted, in the order in which they came. */
export const trustedIn = (state: CaState) => state.roots.filter((root) => !root.revoked);

/** Whether the same roots are trusted, in the same order. */
export function hasSameBundle(a: CaState, b: CaState): boolean {
  const [before, after] = [trustedIn(a), trustedIn(b)];
  return (
    before.length === after.length &&
    before.every(
      ({ certificate }, n) => after[n] && certificate.der.equals(after[n].certificate.der),
    )
  );
}
