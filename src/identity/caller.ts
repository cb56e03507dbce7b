import type { Selector } from './selector.ts';

/** No process has a greater number: PID_MAX_LIMIT of 64-bit Linux. */
export const MAX_PID = 4_194_304;

/** What the kernel says about the other end of a socket, at connect time. */
export interface PeerCredentials {
  /** In this process's pid namespace; 0 when the peer is not visible in it. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Who a connection is from when the kernel did not say; no user has this id. */
export const NOBODY: PeerCredentials = { pid: 0, uid: 0xffffffff, gid: 0xffffffff };

/**
 * An attested process. One object serves all of a process's connections; another process never
 * gets the same `key`, not even one with a reused pid.
 */
export interface Caller {
  readonly key: string;
  readonly credentials: PeerCredentials;
  /** Sorted, without duplicates; those of now. */
  readonly selectors: readonly Selector[];
  /** Called when they have become others. Returns a remover. */
  onChange(listener: () => void): () => void;
  /** Aborted, with an `IdentityError` as reason, when the process has ended or is another one. */
  readonly gone: AbortSignal;
  /** When it began, in clock ticks since the system did; undefined once that cannot be read. */
  startTicks?(): number | undefined;
  /** Asks the kernel now: the same process, alive, with the credentials it connected with. */
  isAlive(): boolean;
  /** The same of all that it was attested by, which takes as long as reading a file. */
  isUnchanged(): boolean;
}
