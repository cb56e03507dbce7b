/** Which authorities a command is about: the roots, or the CAs below them that sign SVIDs. */
export type AuthorityLevel = 'root' | 'issuing';

/**
 * What an operator does to authorities by hand. An authority is named by its subject key
 * identifier, lower-case hex, of which as many digits suffice as make it unique. Everything rejects
 * with `ERR_ISSUER` when it cannot be, and the message says why; `ERR_DISK` when it was not kept.
 */
export interface AuthorityControl {
  /** Makes the next one now; nothing is signed with it. Resolves with its name. */
  prepare(level: AuthorityLevel, options: { signal: AbortSignal }): Promise<string>;
  /**
   * Lets the prepared one sign. Waits until every connected proxy has acknowledged the bundle, at
   * most for the deadline of a rotation; `force` does not wait.
   */
  activate(
    level: AuthorityLevel,
    options: { signal: AbortSignal; force: boolean },
  ): Promise<string>;
  /** Nothing is signed with it or below it any more; what was signed so is signed anew at once. */
  taint(name: string, options: { signal: AbortSignal }): Promise<string>;
  /** Takes one that is tainted out of the bundle; `force` also while SVIDs of it are in use. */
  revoke(name: string, options: { signal: AbortSignal; force: boolean }): Promise<string>;
}
