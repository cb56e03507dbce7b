import type { Tally } from './cluster-ids/tally.ts';
import { countCluster, type ClusterParts } from './cluster-status.ts';
import { sleep, unlessAborted, type Clock } from './core/clock.ts';
import { errorText } from './core/errors.ts';
import type { Logger } from './core/log.ts';
import { COLLECTIONS } from './followed-cluster.ts';
import { ApiRefusal } from './kubernetes/api.ts';
import { record } from './kubernetes/fields.ts';
import type { Lease } from './kubernetes/lease.ts';
import type { ClusterSpiffeId } from './manifests/cluster-spiffe-id.ts';

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
      const some = clusterIds.values().length + entries.values().length > 0;
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
  const tallies = await countCluster(parts, { signal });
  const patch = async (collection: string, name: string, before: unknown, status: object) => {
    if (sameStatus(before, status)) return;
    const path = `${collection}/${encodeURIComponent(name)}/status`;
    await api.send('PATCH', path, { status }, { signal }).catch((thrown: unknown) => {
      // Deleted meanwhile.
      if (!(thrown instanceof ApiRefusal) || thrown.code !== 404) throw thrown;
    });
  };
  for (const id of clusterIds.values()) {
    const status = { stats: statsOf(id, tallies) };
    await patch(COLLECTIONS.ClusterSPIFFEID, id.name, clusterIds.statusOf(id.name), status);
  }
  const faults = new Set(entries.faults().map(({ name }) => name));
  const seen = new Set<string>();
  for (const { source, spiffeId, selectors } of entries.values()) {
    const name = source.slice('ClusterStaticEntry/'.length);
    const key = [spiffeId, ...[...selectors].sort()].join('\n');
    const masked = seen.has(key);
    seen.add(key);
    const status = { rendered: !faults.has(name), masked, set: !masked };
    await patch(COLLECTIONS.ClusterStaticEntry, name, entries.statusOf(name), status);
  }
}

/** Nothing fails to be set: there is no server to set it on. */
function statsOf(id: ClusterSpiffeId, tallies: ReadonlyMap<ClusterSpiffeId, Tally>): object {
  return { ...tallies.get(id)?.stats, entryFailures: 0 };
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
