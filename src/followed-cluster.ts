import { setMaxListeners } from 'node:events';
import { createHearing, type Hearing } from './cluster-hearing.ts';
import type { KubernetesConfig } from './config-kubernetes.ts';
import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import { IdentityError } from './core/errors.ts';
import { createListeners } from './core/listeners.ts';
import type { Logger } from './core/log.ts';
import type { Random } from './core/random.ts';
import type { FollowedNamespaces } from './followed-namespaces.ts';
import { fromFiles } from './kubernetes/access.ts';
import { createApi, type Api } from './kubernetes/api.ts';
import { follow, type Followed, type Mirror } from './kubernetes/follow.ts';
import { createOwnNode, type Node } from './kubernetes/own-node.ts';
import type { Need } from './manifests-in-force.ts';
import { API_VERSION, KINDS, type Kind } from './manifests/manifest.ts';
import { readClusterManifests, type ClusterManifests } from './read-cluster-manifests.ts';

type Labels = ReadonlyMap<string, string>;
type Subject = Kind | Need;

/** What is other than it was, or known for the first time. */
export interface ClusterChange {
  readonly of: Subject;
  /** Of namespaces: these alone; undefined: any. */
  readonly names?: ReadonlySet<string>;
}

/** What the API server tells of manifests, and of what they are about. */
export interface FollowedCluster extends ClusterManifests {
  readonly api: Api;
  readonly namespaceLabels: (name: string) => Labels | undefined;
  readonly namespaces: () => ReadonlyMap<string, Labels>;
  readonly node: () => Node | undefined;
  /** Follows it from now on, when nobody has asked for it before. */
  readonly need: (what: Need) => void;
  /** Begins to follow the manifests, if that is what the configuration says. */
  begin(): void;
  /** Whether it was told of as a whole: what is not among it is not there. */
  knows(what: Subject): boolean;
  /** Whether it was asked for a moment ago, and may be told of in the next. */
  readonly awaits: (what: Subject) => boolean;
  /** Resolves when all that is followed has been heard of, or will not be; never rejects. */
  readonly heard: Promise<void>;
  /** The same of what may be for processes that are in no pod. */
  readonly entriesHeard: Promise<void>;
  onChange(listener: (change: ClusterChange) => void): () => void;
  close(): void;
}

export interface ClusterDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly namespaces: FollowedNamespaces;
}

const GROUP_PATH = `/apis/${API_VERSION}`;
/** Path of the collection of each kind. */
export const COLLECTIONS: Readonly<Record<Kind, string>> = {
  ClusterSPIFFEID: `${GROUP_PATH}/clusterspiffeids`,
  ClusterStaticEntry: `${GROUP_PATH}/clusterstaticentries`,
  ClusterFederatedTrustDomain: `${GROUP_PATH}/clusterfederatedtrustdomains`,
};

export function followCluster(
  config: Config,
  { apiServer, caFile: ca, tokenFile: token, nodeName }: KubernetesConfig,
  deps: ClusterDeps,
): FollowedCluster {
  const { clock, random, log, namespaces } = deps;
  const api = createApi(fromFiles({ ...apiServer, ca, token }, clock), clock);
  const changes = createListeners<ClusterChange>((err) => log.error({ err }, 'a listener failed'));
  const changed = (of: Subject) => changes.emit({ of });
  const hearing = createHearing<Subject>(clock, changed);
  const manifests = readClusterManifests(config, { log, changed });
  const relabelled = (names: ReadonlySet<string>) => changes.emit({ of: 'namespaces', names });
  const node = createOwnNode(nodeName, () => changed('node'), hearing.of('node'));
  const mirrors = { node: node.mirror, ...mirrorsOf(manifests, hearing) };
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  const { signal } = closing;

  function start(what: Subject): void {
    if (signal.aborted || !hearing.expect(what)) return;
    if (what === 'namespaces') {
      const listener = { changed: relabelled, ...hearing.of(what) };
      return namespaces.follow(listener, WITHOUT_NAMESPACES);
    }
    const followed = collectionOf(what, nodeName);
    follow(followed, mirrors[what], { api, clock, random, log, signal }).catch((err: unknown) => {
      if (!signal.aborted) log.error({ err }, 'the cluster is not followed any more');
    });
  }

  return {
    ...{ api, ...manifests },
    ...{ namespaceLabels: namespaces.labelsOf, namespaces: namespaces.all, node: node.current },
    need: start,
    begin() {
      if (config.clusterPolicy.watched) KINDS.forEach(start);
      hearing.begin();
    },
    ...{ knows: hearing.knows, awaits: hearing.awaits },
    heard: hearing.all,
    // Which of them are for this node may have to be known as well.
    entriesHeard: hearing.these('ClusterStaticEntry', 'node'),
    onChange: (listener) => changes.add(listener),
    close() {
      closing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      hearing.close();
      api.close();
    },
  };
}

function mirrorsOf(
  { clusterIds, entries, federated }: ClusterManifests,
  hearing: Pick<Hearing<Subject>, 'of'>,
): Readonly<Record<Kind, Mirror>> {
  return {
    ClusterSPIFFEID: { ...clusterIds, ...hearing.of('ClusterSPIFFEID') },
    ClusterStaticEntry: { ...entries, ...hearing.of('ClusterStaticEntry') },
    ClusterFederatedTrustDomain: { ...federated, ...hearing.of('ClusterFederatedTrustDomain') },
  };
}

const ABSENT = 'there is no such resource: the CRDs of SPIRE Controller Manager are not installed';
const BLOCKED = 'nor a fallback that it goes before';

const WITHOUT_NAMESPACES = `no ClusterSPIFFEID with a namespaceSelector applies, ${BLOCKED}`;

function collectionOf(what: Exclude<Subject, 'namespaces'>, nodeName: string): Followed {
  switch (what) {
    case 'node':
      return {
        path: '/api/v1/nodes',
        query: `fieldSelector=${encodeURIComponent(`metadata.name=${nodeName}`)}`,
        right: `nodes: list, watch; until then no ClusterSPIFFEID with .NodeMeta applies, ${BLOCKED}`,
      };
    default: {
      const path = COLLECTIONS[what];
      const name = path.slice(path.lastIndexOf('/') + 1);
      const until = what === 'ClusterSPIFFEID' ? '; until then no fallback applies' : '';
      const right = `${name} of spire.spiffe.io: list, watch${until}`;
      return { path, query: '', right, absent: ABSENT };
    }
  }
}
