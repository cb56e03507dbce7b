import { shown } from '../core/yaml.ts';
import { spiffeIdFault, trustDomainFault, type TrustDomain } from '../identity/spiffe-id.ts';
import { checkKeys, readSection, readText } from './fields.ts';
import type { Manifest, ManifestContext } from './manifest.ts';

/** A `ClusterFederatedTrustDomain`, checked: whom to federate with, and where its bundle is. */
export interface FederatedTrustDomain {
  readonly name: string;
  readonly source: string;
  readonly trustDomain: TrustDomain;
  readonly bundleEndpointUrl: string;
  readonly profile: 'https_spiffe' | 'https_web';
  /** Of `https_spiffe`; else empty. */
  readonly endpointSpiffeId: string;
  /** As it stands there; may be empty. */
  readonly trustDomainBundle: string;
}

const NO_FETCH = 'its trustDomainBundle counts as it stands there';

const KEYS = [
  ...['trustDomain', 'bundleEndpointURL', 'bundleEndpointProfile', 'trustDomainBundle'],
  'className',
];

/** Reads the `spec`. What it returns counts only if nothing was reported. */
export function readFederatedTrustDomain(
  { name, source, spec }: Manifest,
  { trustDomain: own, warn }: ManifestContext,
): FederatedTrustDomain {
  checkKeys(spec, KEYS);
  const { report, path } = spec;
  const trustDomain = readText(spec, 'trustDomain');
  const fault = trustDomain === own ? 'it is the own trust domain' : trustDomainFault(trustDomain);
  if (fault) {
    const expected = `expected a trust domain such as partner.example, but ${fault}`;
    report([...path, 'trustDomain'], expected);
  }
  const bundleEndpointUrl = readText(spec, 'bundleEndpointURL');
  if (!isEndpoint(bundleEndpointUrl)) {
    const expected = `expected an https URL without user and password, got ${shown(bundleEndpointUrl)}`;
    report([...path, 'bundleEndpointURL'], expected);
  }
  const bundle = readText(spec, 'trustDomainBundle');
  const without =
    bundle === '' ? 'one of it has to be set by hand or lie in federation.bundles_dir' : NO_FETCH;
  warn(`bundles of ${shown(trustDomain)} are not fetched yet: ${without}`);
  return {
    ...{ name, source, bundleEndpointUrl, ...readProfile(spec) },
    trustDomain: trustDomain as TrustDomain,
    trustDomainBundle: bundle,
  };
}

/** What counts of several that may be of one trust domain: two would say two things of its bundle. */
export interface FederatedTrustDomains {
  readonly inForce: readonly FederatedTrustDomain[];
  readonly refused: readonly { readonly source: string; readonly reason: string }[];
}

/** Of each trust domain the first. */
export function onePerTrustDomain(all: readonly FederatedTrustDomain[]): FederatedTrustDomains {
  const first = new Map<string, FederatedTrustDomain>();
  const refused: FederatedTrustDomains['refused'][number][] = [];
  for (const one of all) {
    const before = first.get(one.trustDomain);
    if (!before) first.set(one.trustDomain, one);
    else {
      const reason = `spec.trustDomain: expected a trust domain of its own, but ${before.source} has ${one.trustDomain} too`;
      refused.push({ source: one.source, reason });
    }
  }
  return { inForce: [...first.values()], refused };
}

function readProfile(
  spec: Manifest['spec'],
): Pick<FederatedTrustDomain, 'profile' | 'endpointSpiffeId'> {
  const section = readSection(spec, 'bundleEndpointProfile');
  if (section) checkKeys(section, ['type', 'endpointSPIFFEID']);
  const type = section ? readText(section, 'type') : '';
  const endpointSpiffeId = section ? readText(section, 'endpointSPIFFEID') : '';
  const path = [...spec.path, 'bundleEndpointProfile'];
  if (type !== 'https_spiffe' && type !== 'https_web') {
    spec.report([...path, 'type'], `expected https_spiffe or https_web, got "${shown(type)}"`);
  }
  if (type === 'https_spiffe') {
    const fault = spiffeIdFault(endpointSpiffeId);
    if (fault) {
      const expected = `expected the SPIFFE ID of the endpoint, but ${fault}`;
      spec.report([...path, 'endpointSPIFFEID'], expected);
    }
  }
  return { profile: type === 'https_spiffe' ? type : 'https_web', endpointSpiffeId };
}

function isEndpoint(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  return protocol === 'https:' && username === '' && password === '';
}
