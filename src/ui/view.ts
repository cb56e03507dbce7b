/** What the page shows, and all it is sent. Times are wall clock of the daemon in milliseconds. */
export interface StatusPage {
  readonly version: string;
  readonly nodeName: string;
  readonly trustDomain: string;
  readonly startedAtMs: number | null;
  readonly notReady: readonly string[];
  readonly policy: PolicyState;
  readonly authorities: readonly AuthorityState[];
  /** Proxies that read the own bundle, and those that have not accepted it as it is now. */
  readonly bundleReaders: { readonly readers: number | null; readonly behind: number | null };
  /** Null where the issuing CA does not come from files. */
  readonly upstream: UpstreamState | null;
  readonly rotation: {
    readonly held: number | null;
    readonly due: number | null;
    readonly earliestNotAfterMs: number | null;
  };
  readonly proxies: readonly ProxyState[];
}

export interface PolicyState {
  readonly entries: number | null;
  readonly revision: string | null;
  readonly loadedAtMs: number | null;
  /** How many entries are doubtful. */
  readonly warnings: number | null;
  readonly lastError: string | null;
  readonly lastErrorAtMs: number | null;
}

export interface AuthorityState {
  readonly slot: string;
  /** Subject key identifier, in hex. */
  readonly id: string | null;
  /** Nothing is signed with it any more. */
  readonly tainted: boolean;
  /** It is not to be trusted any more. */
  readonly revoked: boolean;
  readonly serial: string | null;
  readonly keyType: string | null;
  readonly notBeforeMs: number | null;
  readonly notAfterMs: number | null;
}

export interface UpstreamState {
  readonly certFile: string;
  readonly loadedAtMs: number | null;
  readonly lastError: string | null;
  readonly lastErrorAtMs: number | null;
}

/** One connection of a proxy. Node, version, names and words are the proxy's own: nobody vouches for them. */
export interface ProxyState {
  readonly pid: number | null;
  readonly uid: number | null;
  /** Name of the user on the machine that serves the page. */
  readonly user: string | null;
  readonly nodeId: string | null;
  readonly envoyVersion: string | null;
  /** The last names that it was refused at once. */
  readonly refusals: readonly Refusal[];
  readonly streams: readonly StreamState[];
}

export interface Refusal {
  readonly name: string;
  readonly reason: string;
  readonly atMs: number | null;
}

export interface StreamState {
  /** `sotw` or `delta`. */
  readonly kind: string | null;
  readonly openedAtMs: number | null;
  /** Reasons why a name was not answered yet. */
  readonly waiting: readonly string[];
  /** Names that it was told not to have, beyond those in `secrets`. */
  readonly absentNotShown: number;
  readonly secrets: readonly SecretState[];
}

/** `withdrawn`: the proxy may not have it any more but goes on using it. `none`: nothing was sent yet. */
export const STAGES = ['accepted', 'unanswered', 'refused', 'absent', 'withdrawn', 'none'] as const;
export type Stage = (typeof STAGES)[number];

export interface SecretState {
  readonly name: string;
  readonly state: Stage;
  readonly sent: string | null;
  readonly sentAtMs: number | null;
  /** When the first push was sent that has had no answer since; null when none is open. */
  readonly unansweredSinceMs: number | null;
  readonly acknowledged: string | null;
  readonly refused: { readonly version: string; readonly text: string } | null;
  readonly spiffeId: string | null;
  /** Null of a trust bundle, as is what follows. */
  readonly serial: string | null;
  readonly notBeforeMs: number | null;
  readonly notAfterMs: number | null;
  readonly nextRotationMs: number | null;
  /** What the proxy accepted last; the fields above are of what was sent last. */
  readonly inUse: InUse | null;
}

export interface InUse {
  readonly version: string;
  readonly spiffeId: string | null;
  /** Null of a trust bundle, as is what follows. */
  readonly serial: string | null;
  readonly notBeforeMs: number | null;
  readonly notAfterMs: number | null;
}

/** The answer at `status`, when there is one to give. */
export type StatusAnswer =
  | { readonly kind: 'status'; readonly status: StatusPage }
  | {
      readonly kind: 'unreachable';
      readonly reason: string;
      /** By the clock of the one who serves the page. */
      readonly sinceMs: number;
    };

/** Header of each answer at `status`: the time now, by the clock that the answer's times are of. */
export const NOW_HEADER = 'credence-now';
