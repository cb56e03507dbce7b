import { kindOf, shown, type YamlPath } from '../core/yaml.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import {
  checkKeys,
  isMapping,
  readSection,
  readText,
  type Mapping,
  type Report,
  type Section,
} from './fields.ts';

/** The group and version of SPIRE Controller Manager's resources. */
export const API_GROUP = 'spire.spiffe.io';
export const API_VERSION = `${API_GROUP}/v1alpha1`;

export const KINDS = [
  'ClusterSPIFFEID',
  'ClusterStaticEntry',
  'ClusterFederatedTrustDomain',
] as const;
export type Kind = (typeof KINDS)[number];

/** What every manifest has. */
export interface Manifest {
  readonly kind: Kind;
  readonly name: string;
  /** `kind/name`, and where it stands when that is a file. */
  readonly source: string;
  /** Empty unless the API server has given it one. */
  readonly uid: string;
  /** When it was made, as the API server writes it; empty in a file. */
  readonly createdAt: string;
  readonly className: string;
  readonly spec: Section;
}

/** Who is to take heed of a manifest's class. */
export interface Classes {
  /** Manifests of this class are followed. */
  readonly className: string;
  /** And those of none. */
  readonly classless: boolean;
}

/** What a reader has to know of where a manifest is read. */
export interface ManifestContext {
  readonly trustDomain: TrustDomain;
  readonly classes: Classes;
  /** `file:line` where it is a file. */
  readonly place: string | undefined;
  readonly report: Report;
  /** Called with what works and is probably not meant so, and the key that it is about, if one is. */
  readonly warn: (message: string, path?: YamlPath) => void;
}

/** Whether a document is a manifest of Kubernetes at all. */
export function isManifest(value: unknown): value is Mapping {
  return isMapping(value) && (value['apiVersion'] !== undefined || value['kind'] !== undefined);
}

/**
 * Reads what all manifests have in common; undefined when it is none of the known ones, which is
 * reported.
 */
export function readManifest(
  value: Mapping,
  { place, report }: Pick<ManifestContext, 'place' | 'report'>,
): Manifest | undefined {
  const top = { value, path: [], report };
  const kind = KINDS.find((known) => known === value['kind']);
  const version = value['apiVersion'];
  if (!kind || typeof version !== 'string' || !version.startsWith(`${API_GROUP}/`)) {
    const found = typeof value['kind'] === 'string' ? shown(value['kind']) : 'this kind';
    const group = typeof version === 'string' ? ` of ${shown(version)}` : '';
    const known = `${KINDS.join(', ')} of ${API_VERSION}`;
    report(
      [],
      `expected a policy document with the key entries or one of ${known}, ${found}${group} is none`,
    );
    return undefined;
  }
  if (version !== API_VERSION) {
    report(['apiVersion'], `expected ${API_VERSION}, got ${shown(version)}`);
    return undefined;
  }
  checkKeys(top, ['apiVersion', 'kind', 'metadata', 'spec', 'status']);
  const metadata = readSection(top, 'metadata');
  const name = metadata ? readText(metadata, 'name') : '';
  if (name === '' || name.length > 253) {
    report(['metadata', 'name'], 'expected a name of at most 253 characters');
  }
  const spec = readSection(top, 'spec');
  if (!spec) {
    report(['spec'], `expected a mapping, got ${kindOf(value['spec'])}`);
    return undefined;
  }
  const source = `${kind}/${shown(name)}`;
  return {
    ...{ kind, name, spec },
    source: place === undefined ? source : `${source}, ${place}`,
    uid: metadata ? readText(metadata, 'uid') : '',
    createdAt: metadata ? readText(metadata, 'creationTimestamp') : '',
    className: readText(spec, 'className'),
  };
}

/** Whether this daemon is to take heed of a manifest of that class. */
export function isOurs(className: string, classes: Classes): boolean {
  return className === classes.className || (className === '' && classes.classless);
}
