import { countCluster, type ClusterParts } from './cluster-status.ts';
import { sleep, unlessAborted, type Clock } from './core/clock.ts';
import { errorText } from './core/errors.ts';
import type { Logger } from './core/log.ts';
import { COLLECTIONS } from './followed-cluster.ts';
import { ApiRefusal } from './kubernetes/api.ts';
import { record } from './kubernetes/fields.ts';
import type { Lease } from './kubernetes/lease.ts';
import { isFor } from './static-entries.ts';

export interface StatusWritingDeps {
  readonly lease: Lease;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Well within the time of a lease; the counts are of interest to people. */
const EVERY_MS = 20_000;

/**
 * Writes what matched into the status of the cluster's manifests, until the signal; rejects with its
 * reason alone. A node knows its own pods only and a status has one number for all: so one node, which
 * a lease chooses, counts the pods of the cluster, and writes what differs.
 */
export async function writeStatuses(parts: ClusterParts, deps: StatusWritingDeps): Promise<never> {
  const { lease, clock, log, signal } = deps;
  let said = '';
  await unlessAborted(parts.followed.heard, signal);
  for (;;) {
    try {
      const { clusterIds, entries } = parts.followed;
      const some = [clusterIds, entries].some(
        (kind) => kind.values().length + kind.faults().length > 0,
      );
      if (some && (await lease.holds({ signal }))) await writeAll(parts, signal);
      said = '';
    } catch (thrown) {
      signal.throwIfAborted();
      const reason = errorText(thrown);
      const forbidden = thrown instanceof ApiRefusal && thrown.code === 403;
      const detail = forbidden ? RIGHTS : 'tried again';
      if (reason !== said) log.warn({ reason, detail }, 'the status of manifests is not written');
      said = reason;
    }
    await sleep(clock, EVERY_MS, { signal });
  }
}

const RIGHTS =
  'needed: get, create, update of leases; list pods, namespaces, nodes; patch clusterspiffeids/status and clusterstaticentries/status';

async function writeAll(parts: ClusterParts, signal: AbortSignal): Promise<void> {
  const { clusterIds, entries, api } = parts.followed;
  const { tallies, nodeUids } = await countCluster(parts, { signal });
  const patch = async (collection: string, name: string, before: unknown, status: object) => {
    if (sameStatus(before, status)) return;
    const path = `${collection}/${encodeURIComponent(name)}/status`;
    await api.send('PATCH', path, { status }, { signal }).catch((thrown: unknown) => {
      // Deleted meanwhile.
      if (!(thrown instanceof ApiRefusal) || thrown.code !== 404) throw thrown;
    });
  };
  for (const id of clusterIds.values()) {
    const tally = tallies.get(id);
    // One that is not in force yet.
    if (!tally) continue;
    // Nothing fails to be set: there is no server to set it on.
    const status = { stats: { ...tally.stats, entryFailures: 0 } };
    await patch(COLLECTIONS.ClusterSPIFFEID, id.name, clusterIds.statusOf(id.name), status);
  }
  for (const { name, kept } of clusterIds.faults()) {
    // What was counted for one that is not in force any more holds no longer.
    if (kept || clusterIds.statusOf(name) === undefined) continue;
    await patch(COLLECTIONS.ClusterSPIFFEID, name, clusterIds.statusOf(name), { stats: NOTHING });
  }
  for (const [name, status] of entryStatuses(parts, nodeUids)) {
    await patch(COLLECTIONS.ClusterStaticEntry, name, entries.statusOf(name), status);
  }
}

const NOTHING = {
  ...{ namespacesSelected: 0, namespacesIgnored: 0, podsSelected: 0, podEntryRenderFailures: 0 },
  ...{ entriesMasked: 0, entriesToSet: 0, entryFailures: 0 },
};

/** What SPIRE Controller Manager writes of a static entry. */
interface EntryStatus {
  readonly rendered: boolean;
  readonly masked: boolean;
  readonly set: boolean;
}

/** By name. One that is refused as it stands is not set, unless its last good version still is. */
function entryStatuses(
  { followed: { entries }, parents }: ClusterParts,
  nodeUids: ReadonlySet<string>,
): ReadonlyMap<string, EntryStatus> {
  const statuses = new Map<string, EntryStatus>();
  const seen = new Set<string>();
  for (const one of entries.values()) {
    const { source, spiffeId, selectors } = one.entry;
    const isSomewhere = isFor(one, (uid) => nodeUids.has(uid), parents);
    const key = [one.parentId, spiffeId, ...[...selectors].sort()].join('\n');
    const masked = isSomewhere && seen.has(key);
    if (isSomewhere) seen.add(key);
    const name = source.slice('ClusterStaticEntry/'.length);
    statuses.set(name, { rendered: true, masked, set: isSomewhere && !masked });
  }
  for (const { name } of entries.faults()) {
    const kept = statuses.get(name) ?? { masked: false, set: false };
    statuses.set(name, { ...kept, rendered: false });
  }
  return statuses;
}

/** Whether all that would be written is there already. */
function sameStatus(before: unknown, status: object): boolean {
  const there = record(before);
  return Object.entries(status).every(([key, value]: [string, unknown]) =>
    typeof value === 'object' && value !== null
      ? sameStatus(there[key], value)
      : there[key] === value,
  );
}
