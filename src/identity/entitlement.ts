import type { SpiffeId, TrustDomain } from './spiffe-id.ts';

/** One identity that a caller may hold, as a registration entry grants it. */
export interface Entitlement {
  readonly id: SpiffeId;
  /** Undefined: the issuer's default. */
  readonly x509SvidTtlMs: number | undefined;
  readonly jwtSvidTtlMs: number | undefined;
  readonly dnsNames: readonly string[];
  readonly federatesWith: readonly TrustDomain[];
  readonly hint: string;
  readonly priority: number;
  /** `file:line` of the entry, for logs and `explain`. */
  readonly source: string;
}

/**
 * All of several lists as one: by `priority` descending, then by SPIFFE ID. Where several give one ID,
 * the one of highest priority counts, then the one of the first list.
 */
export function mergeEntitlements(
  lists: readonly (readonly Entitlement[])[],
): readonly Entitlement[] {
  const filled = lists.filter(({ length }) => length > 0);
  const all = filled.flat();
  if (filled.length === 1 && all.length === 1) return all;
  // A sort that is stable: what is equal stays in the order of the lists.
  all.sort((a, b) => b.priority - a.priority || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const ids = new Set<SpiffeId>();
  return all.filter(({ id }) => !ids.has(id) && ids.add(id));
}
