import type { TrustBundle } from '../identity/bundle.ts';
import type { AuthorityControl, AuthorityLevel } from './authority-control.ts';
import type { Slot } from './ca-state.ts';
import type { CrlSource } from './crl-signers.ts';
import type { KeyType } from './key-type.ts';
import type { CurrentCa } from './mint.ts';

/** A signing authority as operators see it; times are wall clock in milliseconds. */
export interface AuthorityStatus {
  /**
   * `root`: above the CA that signs, or the one of this node that CAs are made below. `prepared`, and of
   * a root `root_prepared`: published, and follows. `kept`: signs no more, but what it signed may live.
   */
  readonly slot: 'root' | 'root_prepared' | 'active' | 'prepared' | 'kept';
  readonly level: AuthorityLevel;
  readonly state: Slot;
  /** Subject key identifier, lower-case hex: its name in commands. */
  readonly id: string;
  /** The same of the root above an issuing CA; undefined where that is not known. */
  readonly rootId?: string | undefined;
  readonly subject: string;
  /** Lower-case hex. */
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Since when it is published here; undefined where nobody has kept that. */
  readonly sinceMs?: number | undefined;
  /** When nothing hangs on it any more; undefined while more may be signed. */
  readonly untilMs?: number | undefined;
  readonly tainted: boolean;
  readonly revoked: boolean;
  /** When one that is `prepared` begins to sign, where that is known. */
  readonly signsAtMs?: number;
  /** Undefined where the key was never here. */
  readonly keyType: KeyType | undefined;
}

/** What became of files that changed. */
export type UpstreamReload = 'applied' | 'unchanged' | 'refused';

/** Where the issuing CA comes from; times are wall clock in milliseconds. */
export interface UpstreamStatus {
  /** For people: of files the one with the certificate. */
  readonly name: string;
  /** Undefined unless it comes from files. */
  readonly certFile: string | undefined;
  /** When files were last found good, or a CA was last issued; undefined: not in this run. */
  readonly loadedAtMs: number | undefined;
  /** Why files are not used as they are now, or no CA was to be had; undefined while all is well. */
  readonly lastError: string | undefined;
  readonly lastErrorAtMs: number | undefined;
  /** When it is asked again after that; undefined where nobody waits for a time. */
  readonly nextTryMs: number | undefined;
}

/** Where the issuing CA and the roots come from. */
export interface CaSource extends CurrentCa, CrlSource {
  /** The same object as long as nothing in it changes. */
  bundle(): TrustBundle;
  /** Called whenever `bundle` answers something else; returns how to stop. */
  onBundleChange(listener: () => void): () => void;
  authorities(): readonly AuthorityStatus[];
  /**
   * An SVID of this lifetime is about to be signed; returns the one that it may have, which is less
   * where a longer one than ever before could not be kept. `ERR_DISK` when it may have none.
   */
  asked(ttlMs: number): number;
  /** Undefined where the root is our own. */
  upstream(): UpstreamStatus | undefined;
  /** Called after each look at files that changed; returns how to stop. */
  onReload(listener: (result: UpstreamReload) => void): () => void;
  /** What operators do by hand; undefined where they replace files. */
  control(): AuthorityControl | undefined;
  /** Called with the CAs whose SVIDs are to be signed anew at once; returns how to stop. */
  onTainted(listener: (authorityIds: readonly string[]) => void): () => void;
  close(): void;
}
