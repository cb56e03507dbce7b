import { kindOf, shown } from '../core/yaml.ts';
import { readClusterSpiffeId } from '../manifests/cluster-spiffe-id.ts';
import { readFederatedTrustDomain } from '../manifests/federated-trust-domain.ts';
import {
  isOurs,
  readManifest,
  type Classes,
  type Manifest,
  type ManifestContext,
} from '../manifests/manifest.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { PolicyEntry, PolicyManifests } from './entry.ts';
import { isMapping, type Report } from './fields.ts';
import { readStaticEntry } from './static-entry.ts';

/** Those who hear what is wrong with a manifest, or probably not meant so. */
interface Findings {
  readonly report: Report;
  readonly warn: ManifestContext['warn'];
  /** Whether nothing was reported of this manifest so far. */
  readonly good: () => boolean;
}

/** Takes the manifests of all documents in. */
export interface ManifestCollector {
  readonly manifests: PolicyManifests;
  /** Reads one; the entry that it is, if it is one. */
  take(value: unknown, place: string, findings: Findings): PolicyEntry | undefined;
}

export const CLASSLESS: Classes = { className: '', classless: false };

export function createManifestCollector(sources: {
  readonly trustDomain: TrustDomain;
  readonly classes?: Classes;
}): ManifestCollector {
  const { trustDomain, classes = CLASSLESS } = sources;
  const clusterIds: PolicyManifests['clusterIds'][number][] = [];
  const federated: PolicyManifests['federated'][number][] = [];
  /** Where each name, and each federated trust domain, was first. */
  const places = new Map<string, string>();

  function isFirst(key: string, what: string, place: string, path: string[], report: Report) {
    const before = places.get(key);
    if (before === undefined) return places.set(key, place);
    return report(path, `expected ${what} of its own, but ${before} has the same`);
  }

  return {
    manifests: { clusterIds, federated },
    take(value, place, findings) {
      const { report, warn, good } = findings;
      if (!isMapping(value)) {
        report([], `expected a manifest, got ${kindOf(value)}`);
        return undefined;
      }
      const manifest = readManifest(value, { place, report });
      if (!manifest) return undefined;
      const { kind, name, className } = manifest;
      if (!isOurs(className, classes)) {
        const path = className === '' ? [] : ['spec', 'className'];
        warn(otherClass(manifest, classes), path);
        return undefined;
      }
      isFirst(`${kind}/${name}`, 'a name', place, ['metadata', 'name'], report);
      const context = { trustDomain, classes, place, report, warn };
      switch (kind) {
        case 'ClusterStaticEntry': {
          const { entry, parentId } = readStaticEntry(manifest, context);
          // Who puts a document on a node means that node.
          if (parentId !== '') warn(NO_PARENT, ['spec', 'parentID']);
          return good() ? entry : undefined;
        }
        case 'ClusterSPIFFEID': {
          const id = readClusterSpiffeId(manifest, context);
          if (good()) clusterIds.push(id);
          return undefined;
        }
        case 'ClusterFederatedTrustDomain': {
          const domain = readFederatedTrustDomain(manifest, context);
          const path = ['spec', 'trustDomain'];
          isFirst(domain.trustDomain, 'a trust domain', place, path, report);
          if (good()) federated.push(domain);
          return undefined;
        }
      }
    },
  };
}

const NO_PARENT =
  'it is not honoured in documents: the entry applies on every node that reads this one';

function otherClass({ kind, name, className }: Manifest, classes: Classes): string {
  const named = className === '' ? 'has no className' : `is of the class ${shown(className)}`;
  const ours = classes.className === '' ? 'none' : classes.className;
  return `${kind}/${shown(name)} ${named}, this daemon's (policy.kubernetes.class_name) is ${ours}: it has no effect`;
}
