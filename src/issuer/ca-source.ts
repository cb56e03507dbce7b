import type { TrustBundle } from '../identity/bundle.ts';
import type { Authority } from './authority.ts';
import type { CaCertificate } from './ca-certificate.ts';
import type { KeyType } from './key-type.ts';
import type { CurrentCa } from './mint.ts';

/** A signing authority as operators see it; times are wall clock in milliseconds. */
export interface AuthorityStatus {
  /** `prepared`: published, and signs soon. `kept`: signs no more, but what it signed may live. */
  readonly slot: 'root' | 'active' | 'prepared' | 'kept';
  readonly subject: string;
  /** Lower-case hex. */
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** When one that is `prepared` begins to sign, where that is known. */
  readonly signsAtMs?: number;
  /** Undefined where the key was never here. */
  readonly keyType: KeyType | undefined;
}

/** What became of files that changed. */
export type UpstreamReload = 'applied' | 'unchanged' | 'refused';

/** The files that the issuing CA comes from; times are wall clock in milliseconds. */
export interface UpstreamStatus {
  readonly certFile: string;
  /** When they were last found good. */
  readonly loadedAtMs: number;
  /** Why they are not used as they are now; undefined while they are. */
  readonly lastError: string | undefined;
  readonly lastErrorAtMs: number | undefined;
}

/** Where the issuing CA and the roots come from. */
export interface CaSource extends CurrentCa {
  /** The same object as long as nothing in it changes. */
  bundle(): TrustBundle;
  /** Called whenever `bundle` answers something else; returns how to stop. */
  onBundleChange(listener: () => void): () => void;
  authorities(): readonly AuthorityStatus[];
  /** An SVID of this lifetime is about to be signed. */
  asked(ttlMs: number): void;
  /** Undefined where there are no files to follow. */
  upstream(): UpstreamStatus | undefined;
  /** Called after each look at files that changed; returns how to stop. */
  onReload(listener: (result: UpstreamReload) => void): () => void;
  close(): void;
}

export function authorityStatus(
  slot: AuthorityStatus['slot'],
  { certificate, key, validity }: Authority,
): AuthorityStatus {
  return { ...rootStatus(slot, certificate), ...validity, keyType: key.type };
}

export function rootStatus(
  slot: AuthorityStatus['slot'],
  { subjectText: subject, serial, validity }: CaCertificate,
): AuthorityStatus {
  return { slot, subject, serial, ...validity, keyType: undefined };
}
