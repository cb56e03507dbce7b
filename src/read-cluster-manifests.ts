import { createWatched, type Reading, type Watched } from './cluster-ids/watched.ts';
import { policySources, type Config } from './config.ts';
import type { Logger } from './core/log.ts';
import { withPath } from './core/yaml.ts';
import { readClusterSpiffeId, type ClusterSpiffeId } from './manifests/cluster-spiffe-id.ts';
import {
  readFederatedTrustDomain,
  type FederatedTrustDomain,
} from './manifests/federated-trust-domain.ts';
import type { Doubt } from './manifests/doubts.ts';
import type { Mapping } from './manifests/fields.ts';
import {
  API_VERSION,
  isOurs,
  readManifest,
  type Kind,
  type Manifest,
  type ManifestContext,
} from './manifests/manifest.ts';
import { clusterIdFindings } from './policy/cluster-id-findings.ts';
import { readStaticEntry, type StaticEntry } from './policy/static-entry.ts';
import { attestableHere } from './policy/unmatched.ts';

/** The manifests that the cluster has, of each kind. */
export interface ClusterManifests {
  readonly clusterIds: Watched<ClusterSpiffeId>;
  /** Those for other nodes too. */
  readonly entries: Watched<StaticEntry>;
  readonly federated: Watched<FederatedTrustDomain>;
}

interface Told {
  readonly log: Logger;
  readonly changed: (kind: Kind) => void;
}

/** Reads what the API server tells of them, as documents are read. */
export function readClusterManifests(config: Config, { log, changed }: Told): ClusterManifests {
  const { clusterPolicy } = config;
  const machine = attestableHere(policySources(config).attests);
  const watched = <T>(kind: Kind, read: Read<T>, doubts: (value: T) => readonly Doubt[] = none) =>
    createWatched(kind, (object) => readOne({ kind, ...object }, { read, doubts }, config), {
      log,
      changed: () => changed(kind),
    });
  return {
    clusterIds: watched('ClusterSPIFFEID', readClusterSpiffeId, (id) =>
      clusterIdFindings(id, machine, clusterPolicy),
    ),
    entries: watched('ClusterStaticEntry', readStaticEntry),
    federated: watched('ClusterFederatedTrustDomain', readFederatedTrustDomain),
  };
}

type Read<T> = (manifest: Manifest, context: ManifestContext) => T;
const none = () => [];

function readOne<T>(
  object: Mapping,
  { read, doubts }: { readonly read: Read<T>; readonly doubts: (value: T) => readonly Doubt[] },
  { trustDomain, clusterPolicy: { classes } }: Config,
): Reading<T> {
  const faults: string[] = [];
  const warnings: string[] = [];
  const report: ManifestContext['report'] = (path, expected) =>
    void faults.push(withPath(expected, path));
  const warn: ManifestContext['warn'] = (message, path = []) =>
    void warnings.push(withPath(message, path));
  const place = undefined;
  const manifest = readManifest({ apiVersion: API_VERSION, ...object }, { place, report });
  if (!manifest || !isOurs(manifest.className, classes)) {
    return { value: undefined, faults, warnings };
  }
  const value = read(manifest, { trustDomain, classes, place, report, warn });
  if (faults.length > 0) return { value: undefined, faults, warnings };
  for (const { key, why } of doubts(value)) warn(why, ['spec', ...key]);
  return { value, faults, warnings };
}
