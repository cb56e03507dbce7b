import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { PolicyEntry } from './entry.ts';
import {
  checkKeys,
  readDnsNames,
  readFederatesWith,
  readHint,
  readPriority,
  readSelectors,
  readSelectorText,
  readSpiffeId,
  readTtl,
  type Mapping,
  type Report,
} from './fields.ts';

const KEYS: ReadonlySet<string> = new Set([
  'spiffe_id',
  'selectors',
  'x509_svid_ttl',
  'jwt_svid_ttl',
  'dns_names',
  'federates_with',
  'hint',
  'priority',
]);

/** Reads an entry of Credence's own form. What it returns counts only if nothing was reported. */
export function readOwnEntry(
  value: Mapping,
  trustDomain: TrustDomain,
  source: string,
  report: Report,
): PolicyEntry {
  checkKeys(value, KEYS, report);
  return {
    spiffeId: readSpiffeId(value['spiffe_id'], trustDomain, report),
    selectors: readSelectors(value['selectors'], report, readSelectorText),
    x509SvidTtlMs: readTtl(value, 'x509_svid_ttl', report),
    jwtSvidTtlMs: readTtl(value, 'jwt_svid_ttl', report),
    dnsNames: readDnsNames(value, report),
    federatesWith: readFederatesWith(value, trustDomain, report),
    hint: readHint(value, report),
    priority: readPriority(value, report),
    source,
  };
}
