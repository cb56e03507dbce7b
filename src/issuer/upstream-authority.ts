import type { SigningKey } from './keys.ts';

/** What is asked for: a CA for a key that stays here. */
export interface CaOrder {
  readonly key: SigningKey;
  /** DER of a PKCS#10 request (RFC 2986) that the key has signed. */
  readonly csr: Buffer;
  /** The life that is wanted, in milliseconds; less may be given. */
  readonly ttlMs: number;
}

/** What came of it, as DER; whoever asked looks at every bit of it before it signs anything. */
export interface IssuedCa {
  /** The CA for the key first, then what is between it and its root; the root may be the last. */
  readonly chain: readonly Buffer[];
  /** Roots to be trusted, that of the chain among them. */
  readonly roots: readonly Buffer[];
}

/** Roots that an upstream tells of by itself, before it signs under them. */
export interface ToldRoots {
  /** DER of each; undefined while nothing has been heard. */
  current(): readonly Buffer[] | undefined;
  /**
   * Subject key identifiers, lower-case hex, of roots below which nothing is signed any more and which
   * are to be left at once: a node's CA was stolen, say. Absent where nobody tells of that.
   */
  tainted?(): readonly string[];
  /** Called when either answers something else; returns how to stop. */
  onChange(listener: () => void): () => void;
}

/** Signs issuing CAs: an own root, or an authority elsewhere. */
export interface UpstreamAuthority {
  /** For messages and for `credence status`, `vault https://vault.example:8200/pki`. Holds no secret. */
  readonly name: string;
  /**
   * Asks once, within a deadline of its own. `ERR_ISSUER` when there is none to be had now (away,
   * sealed, denied, nonsense); the message says what was answered. The signal's reason when aborted.
   */
  issue(order: CaOrder, options: { signal: AbortSignal }): Promise<IssuedCa>;
  /** Absent where roots come with the CAs alone. */
  readonly roots?: ToldRoots;
  close(): void;
}
