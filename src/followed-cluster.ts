import { setMaxListeners } from 'node:events';
import { createWatched, type Reading, type Watched } from './cluster-ids/watched.ts';
import type { KubernetesConfig } from './config-kubernetes.ts';
import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import { IdentityError } from './core/errors.ts';
import { createListeners } from './core/listeners.ts';
import type { Logger } from './core/log.ts';
import type { Random } from './core/random.ts';
import { withPath } from './core/yaml.ts';
import { fromFiles } from './kubernetes/access.ts';
import { createApi, type Api } from './kubernetes/api.ts';
import { follow, type Followed, type Mirror } from './kubernetes/follow.ts';
import { createNamespaces } from './kubernetes/namespaces.ts';
import { createOwnNode, type Node } from './kubernetes/own-node.ts';
import { readClusterSpiffeId, type ClusterSpiffeId } from './manifests/cluster-spiffe-id.ts';
import type { Mapping } from './manifests/fields.ts';
import {
  readFederatedTrustDomain,
  type FederatedTrustDomain,
} from './manifests/federated-trust-domain.ts';
import {
  API_VERSION,
  isOurs,
  readManifest,
  type Kind,
  type Manifest,
  type ManifestContext,
} from './manifests/manifest.ts';
import { readStaticEntry, type StaticEntry } from './policy/static-entry.ts';

type Labels = ReadonlyMap<string, string>;

/** What the API server tells of manifests, and of what they are about. */
export interface FollowedCluster {
  readonly api: Api;
  readonly clusterIds: Watched<ClusterSpiffeId>;
  /** Those for other nodes too. */
  readonly entries: Watched<StaticEntry>;
  readonly federated: Watched<FederatedTrustDomain>;
  readonly namespaceLabels: (name: string) => Labels | undefined;
  readonly namespaces: () => ReadonlyMap<string, Labels>;
  readonly node: () => Node | undefined;
  /** Follow these from now on, when nobody has asked for it before. */
  needNamespaces(): void;
  needNode(): void;
  /** Begins to follow the manifests, if that is what the configuration says. */
  begin(): void;
  /** Resolves when all that is followed has been heard of, or will not be; never rejects. */
  readonly heard: Promise<void>;
  onChange(listener: () => void): () => void;
  close(): void;
}

export interface ClusterDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

const GROUP_PATH = `/apis/${API_VERSION}`;
/** Path of the collection of each kind. */
export const COLLECTIONS: Readonly<Record<Kind, string>> = {
  ClusterSPIFFEID: `${GROUP_PATH}/clusterspiffeids`,
  ClusterStaticEntry: `${GROUP_PATH}/clusterstaticentries`,
  ClusterFederatedTrustDomain: `${GROUP_PATH}/clusterfederatedtrustdomains`,
};
const ABSENT = 'there is no such resource: the CRDs of SPIRE Controller Manager are not installed';
/** After that time processes are attested without a cluster that was never heard. */
const PATIENCE_MS = 10_000;

export function followCluster(
  config: Config,
  { apiServer, caFile: ca, tokenFile: token, nodeName }: KubernetesConfig,
  deps: ClusterDeps,
): FollowedCluster {
  const { clock, random, log } = deps;
  const api = createApi(fromFiles({ ...apiServer, ca, token }, clock), clock);
  const changes = createListeners<undefined>((err) => log.error({ err }, 'a listener failed'));
  const changed = () => changes.emit(undefined);
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  const { signal } = closing;
  const hearing = createHearing(clock);
  const followed = new Set<string>();

  function start(what: Followed, mirror: Mirror): void {
    followed.add(what.path);
    follow(what, mirror, { api, clock, random, log, signal }).catch((thrown: unknown) => {
      if (!signal.aborted) log.error({ err: thrown }, 'the cluster is not followed any more');
    });
  }

  const watched = createManifests(config, { log, changed });
  const namespaces = createNamespaces(changed, hearing.of('/api/v1/namespaces'));
  const node = createOwnNode(nodeName, changed, hearing.of('/api/v1/nodes'));
  const needed = (path: string) => {
    if (followed.has(path) || signal.aborted) return false;
    hearing.expect(path);
    return true;
  };
  return {
    ...{ api, ...watched },
    namespaceLabels: namespaces.labelsOf,
    namespaces: namespaces.all,
    node: node.current,
    needNamespaces() {
      const path = '/api/v1/namespaces';
      if (needed(path)) start({ path, query: '', right: NAMESPACES_RIGHT }, namespaces.mirror);
    },
    needNode() {
      const path = '/api/v1/nodes';
      const query = `fieldSelector=${encodeURIComponent(`metadata.name=${nodeName}`)}`;
      if (needed(path)) start({ path, query, right: 'nodes: list, watch' }, node.mirror);
    },
    begin() {
      if (config.clusterPolicy.watched) {
        for (const [kind, mirror] of manifestMirrors(watched)) {
          const path = COLLECTIONS[kind];
          hearing.expect(path);
          const right = `${path.slice(path.lastIndexOf('/') + 1)} of spire.spiffe.io: list, watch`;
          const told = hearing.of(path);
          start({ path, query: '', right, absent: ABSENT }, { ...mirror, ...told });
        }
      }
      hearing.look();
    },
    heard: hearing.done,
    onChange: (listener) => changes.add(listener),
    close() {
      closing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      hearing.close();
      api.close();
    },
  };
}

const NAMESPACES_RIGHT =
  'namespaces: list, watch; until then no ClusterSPIFFEID with a namespaceSelector applies';

type Manifests = Pick<FollowedCluster, 'clusterIds' | 'entries' | 'federated'>;

function manifestMirrors(from: Manifests): readonly [Kind, Watched<unknown>][] {
  return [
    ['ClusterSPIFFEID', from.clusterIds],
    ['ClusterStaticEntry', from.entries],
    ['ClusterFederatedTrustDomain', from.federated],
  ];
}

function createManifests(
  { trustDomain, clusterPolicy: { classes } }: Config,
  told: { readonly log: Logger; readonly changed: () => void },
): Manifests {
  function reader<T>(kind: Kind, read: (manifest: Manifest, context: ManifestContext) => T) {
    return (object: Mapping): Reading<T> => {
      const faults: string[] = [];
      const warnings: string[] = [];
      const report: ManifestContext['report'] = (path, expected) =>
        void faults.push(withPath(expected, path));
      const warn: ManifestContext['warn'] = (message, path = []) =>
        void warnings.push(withPath(message, path));
      const manifest = readManifest(
        { apiVersion: API_VERSION, kind, ...object },
        {
          place: undefined,
          report,
        },
      );
      if (!manifest || !isOurs(manifest.className, classes)) {
        return { value: undefined, faults, warnings };
      }
      const context = { trustDomain, classes, place: undefined, report, warn };
      const value = read(manifest, context);
      return { value: faults.length === 0 ? value : undefined, faults, warnings };
    };
  }
  const watched = <T>(
    kind: Kind,
    read: (manifest: Manifest, context: ManifestContext) => T,
  ): Watched<T> => createWatched(kind, reader(kind, read), told);
  return {
    clusterIds: watched('ClusterSPIFFEID', readClusterSpiffeId),
    entries: watched('ClusterStaticEntry', readStaticEntry),
    federated: watched('ClusterFederatedTrustDomain', readFederatedTrustDomain),
  };
}

/** Whether each collection that is followed has been heard of once. */
function createHearing(clock: Clock) {
  const waiting = new Set<string>();
  let begun = false;
  let finish: () => void = () => undefined;
  const done = new Promise<void>((resolve) => (finish = resolve));
  const timer = clock.after(PATIENCE_MS, () => finish());
  const look = () => {
    if (begun && waiting.size === 0) finish();
  };
  const leave = (path: string) => {
    waiting.delete(path);
    look();
  };
  return {
    done,
    expect: (path: string) => void waiting.add(path),
    of: (path: string) => ({ heard: () => leave(path), refused: () => leave(path) }),
    look() {
      begun = true;
      look();
    },
    close() {
      timer.cancel();
      finish();
    },
  };
}
