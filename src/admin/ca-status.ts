/** What `/ca` is made of; times are wall clock in milliseconds. */
export interface CaSources {
  readonly nowMs: number;
  readonly trustDomain: string;
  /** Undefined while there is none. */
  readonly bundle: { readonly sequence: number } | undefined;
  readonly authorities: readonly AuthorityView[];
  readonly bundleReaders: { readonly readers: number; readonly behind: number };
  readonly upstream: UpstreamView | undefined;
  /** Why nothing can be changed by hand; undefined where it can. */
  readonly notByHand: string | undefined;
}

/** An authority; what is not known of one is left out. */
export interface AuthorityView {
  readonly level?: string;
  readonly slot: string;
  /** `prepared`, `active` or `old`. */
  readonly state?: string | undefined;
  /** Subject key identifier, lower-case hex. */
  readonly id?: string | undefined;
  /** That of the root above it. */
  readonly rootId?: string | undefined;
  readonly subject?: string | undefined;
  readonly serial: string;
  readonly keyType: string | undefined;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly sinceMs?: number | undefined;
  /** When nothing that it has signed can be valid any more. */
  readonly untilMs?: number | undefined;
  readonly tainted?: boolean;
  readonly revoked?: boolean;
  /** What comes next for it, from when on, and until when proxies that are behind are waited for. */
  readonly next?:
    | { readonly step: string; readonly atMs: number; readonly deadlineMs?: number | undefined }
    | undefined;
}

/** Who signs the issuing CA, where that is not a root of the daemon's own. */
export interface UpstreamView {
  readonly name: string;
  /** When it last did what it was asked, or its files were good. */
  readonly goodAtMs: number | undefined;
  readonly lastError: string | undefined;
  readonly lastErrorAtMs: number | undefined;
  readonly nextTryAtMs?: number | undefined;
}

/** The document of `/ca` and of `credence ca status --json`. */
export function caDocument(from: CaSources) {
  const { upstream } = from;
  return {
    now: time(from.nowMs),
    trust_domain: from.trustDomain,
    bundle_sequence: from.bundle?.sequence ?? null,
    bundle_readers: from.bundleReaders,
    not_by_hand: from.notByHand ?? null,
    authorities: from.authorities.map(authorityDocument),
    upstream: upstream
      ? {
          name: upstream.name,
          good_at: time(upstream.goodAtMs),
          last_error: upstream.lastError ?? null,
          last_error_at: time(upstream.lastErrorAtMs),
          next_try_at: time(upstream.nextTryAtMs),
        }
      : null,
  };
}

/** One authority, here and in `/status`. */
export function authorityDocument(authority: AuthorityView) {
  return {
    level: authority.level ?? (authority.slot === 'root' ? 'root' : 'issuing'),
    slot: authority.slot,
    state: authority.state ?? null,
    id: authority.id ?? null,
    root_id: authority.rootId ?? null,
    subject: authority.subject ?? null,
    serial: authority.serial,
    key_type: authority.keyType ?? null,
    not_before: time(authority.notBeforeMs),
    not_after: time(authority.notAfterMs),
    since: time(authority.sinceMs),
    kept_until: time(authority.untilMs),
    tainted: authority.tainted ?? false,
    revoked: authority.revoked ?? false,
    next_step: authority.next?.step ?? null,
    next_step_at: time(authority.next?.atMs),
    waits_until: time(authority.next?.deadlineMs),
  };
}

function time(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
