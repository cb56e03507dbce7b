import { createHash } from 'node:crypto';
import type { Selector } from '../identity/selector.ts';
import { NO_MANIFESTS, type PolicyEntry, type PolicyManifests } from './entry.ts';

/** Entries made ready for the index; plain data, so that another thread can do it. */
export interface PolicyPlan {
  /** Each with its rarest selector first; the order of the others does not matter. */
  readonly entries: readonly PolicyEntry[];
  /** Digest of what the entries say and their order; not of where they stand. */
  readonly revision: string;
}

/** Hex digits of a SHA-256 that tell one revision from another. */
const REVISION_DIGITS = 16;

/** Orders each entry's selectors by how few entries share them, and digests the whole. */
export function planEntries(
  entries: readonly PolicyEntry[],
  manifests: PolicyManifests = NO_MANIFESTS,
): PolicyPlan {
  const counts = new Map<Selector, number>();
  for (const { selectors } of entries) {
    for (const selector of selectors) counts.set(selector, (counts.get(selector) ?? 0) + 1);
  }
  const rarity = (a: Selector, b: Selector): number =>
    (counts.get(a) ?? 0) - (counts.get(b) ?? 0) || (a < b ? -1 : 1);
  const hash = createHash('sha256');
  const planned = entries.map((entry) => {
    const selectors = [...entry.selectors].sort(rarity);
    hash.update(content(entry, selectors));
    return selectors[0] === entry.selectors[0] ? entry : { ...entry, selectors };
  });
  for (const manifest of [...manifests.clusterIds, ...manifests.federated]) {
    hash.update(JSON.stringify({ ...manifest, source: '' }));
  }
  return { entries: planned, revision: hash.digest('hex').slice(0, REVISION_DIGITS) };
}

/** One spelling of what an entry says; JSON, so that no value can run into the next. */
function content(entry: PolicyEntry, selectors: readonly Selector[]): string {
  return JSON.stringify([
    entry.spiffeId,
    selectors,
    entry.x509SvidTtlMs ?? 0,
    entry.jwtSvidTtlMs ?? 0,
    entry.dnsNames,
    entry.federatesWith,
    entry.hint,
    entry.priority,
  ]);
}
