import { spiffeIdFault } from '../identity/spiffe-id.ts';
import { checkKeys, readText, readTtl, refuseFlags } from '../manifests/fields.ts';
import { REFUSED } from '../manifests/cluster-spiffe-id.ts';
import type { Manifest, ManifestContext } from '../manifests/manifest.ts';
import type { PolicyEntry } from './entry.ts';
import { readOwnEntry } from './own-entry.ts';

/** Fields of the `spec` and of an entry that say the same in the same form. */
const SAME: Readonly<Record<string, string>> = {
  spiffeID: 'spiffe_id',
  selectors: 'selectors',
  federatesWith: 'federates_with',
  dnsNames: 'dns_names',
  hint: 'hint',
};
const KEYS = [
  ...Object.keys(SAME),
  ...['parentID', 'x509SVIDTTL', 'jwtSVIDTTL', 'className', 'admin', 'downstream', 'storeSVID'],
];
const REFUSED_HERE = { ...REFUSED, storeSVID: 'there is no SVID store to push to' };

/** An entry, and whose of SPIRE's agents it is for. */
export interface StaticEntry {
  readonly entry: PolicyEntry;
  /** `parentID`; empty: of every node. */
  readonly parentId: string;
}

/** Reads a `ClusterStaticEntry`. What it returns counts only if nothing was reported. */
export function readStaticEntry(
  { spec, source }: Manifest,
  { trustDomain, place }: Pick<ManifestContext, 'trustDomain' | 'place'>,
): StaticEntry {
  checkKeys(spec, KEYS);
  refuseFlags(spec, REFUSED_HERE);
  const { value, path, report } = spec;
  const parentId = readText(spec, 'parentID');
  const parentFault = parentId === '' ? undefined : spiffeIdFault(parentId);
  if (parentFault !== undefined) {
    report(
      [...path, 'parentID'],
      `expected the SPIFFE ID of an agent or a node, but ${parentFault}`,
    );
  }
  const names = new Map(Object.entries(SAME).map(([theirs, ours]) => [ours, theirs]));
  const own = Object.fromEntries(
    Object.entries(SAME).flatMap(([theirs, ours]) => {
      const given = value[theirs] ?? undefined;
      return given === undefined ? [] : [[ours, withoutScheme(theirs, given)]];
    }),
  );
  const entry = readOwnEntry(own, trustDomain, place ?? source, ([key = '', ...rest], expected) =>
    report([...path, names.get(String(key)) ?? key, ...rest], expected),
  );
  if (entry.spiffeId.includes('{')) {
    report([...path, 'spiffeID'], 'expected an ID without placeholders: SPIRE has none');
  }
  const ttls = {
    x509SvidTtlMs: readTtl(spec, 'x509SVIDTTL'),
    jwtSvidTtlMs: readTtl(spec, 'jwtSVIDTTL'),
  };
  return { entry: { ...entry, ...ttls }, parentId };
}

/** SPIRE takes trust domains in either spelling. */
function withoutScheme(key: string, value: unknown): unknown {
  if (key !== 'federatesWith' || !Array.isArray(value)) return value;
  return value.map((item: unknown) =>
    typeof item === 'string' && item.startsWith('spiffe://') ? item.slice(9) : item,
  );
}
