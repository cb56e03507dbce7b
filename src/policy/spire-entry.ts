import { kindOf } from '../core/yaml.ts';
import { selector, selectorFault, type Selector } from '../identity/selector.ts';
import { spiffeIdFault, type TrustDomain } from '../identity/spiffe-id.ts';
import type { PolicyEntry } from './entry.ts';
import {
  boundedTtl,
  checkKeys,
  isMapping,
  readDnsNames,
  readFederatesWith,
  readHint,
  readSelectors,
  readSpiffeId,
  type Mapping,
  type Report,
} from './fields.ts';

/** Fields that ask for what a daemon of one node cannot do, and what that would be. */
const REFUSED: Readonly<Record<string, string>> = {
  admin: 'there is no server API for an admin workload to call',
  downstream: 'there is no downstream server to sign for',
  store_svid: 'there is no SVID store to push to',
};
/** Spellings of "the entry ends at" that SPIRE's releases write; 0 is "never". */
const EXPIRIES = ['entry_expiry', 'entryExpiry', 'expires_at'] as const;
/** The server's own bookkeeping. */
const BOOKKEEPING = ['entry_id', 'revision_number', 'created_at'] as const;

const KEYS: ReadonlySet<string> = new Set([
  'spiffe_id',
  'parent_id',
  'selectors',
  'x509_svid_ttl',
  'ttl',
  'jwt_svid_ttl',
  'dns_names',
  'federates_with',
  'hint',
  ...Object.keys(REFUSED),
  ...EXPIRIES,
  ...BOOKKEEPING,
]);
const SELECTOR_KEYS: ReadonlySet<string> = new Set(['type', 'value']);

/** SPIRE's form has a `parent_id`, or selectors in two parts. */
export function isSpireEntry(value: Mapping): boolean {
  if (value['parent_id'] !== undefined) return true;
  const selectors = value['selectors'];
  const first: unknown = Array.isArray(selectors) ? selectors[0] : undefined;
  return isMapping(first) && ('type' in first || 'value' in first);
}

/** Reads an entry of `spire-server entry create -data`; like `readOwnEntry` otherwise. */
export function readSpireEntry(
  value: Mapping,
  trustDomain: TrustDomain,
  source: string,
  report: Report,
): PolicyEntry {
  checkKeys(value, KEYS, report);
  checkParent(value['parent_id'], trustDomain, report);
  refuse(value, report);
  for (const key of BOOKKEEPING) {
    const kind = typeof (value[key] ?? '');
    if (kind !== 'string' && kind !== 'number') {
      report([key], `expected a text or a number, got ${kindOf(value[key])}`);
    }
  }
  const spiffeId = readSpiffeId(value['spiffe_id'], trustDomain, report);
  if (spiffeId.includes('{')) {
    report(['spiffe_id'], 'expected an ID without placeholders: SPIRE has none');
  }
  return {
    spiffeId,
    selectors: readSelectors(value['selectors'], report, readSelectorPair),
    x509SvidTtlMs: readX509Ttl(value, report),
    jwtSvidTtlMs: readSeconds(value, 'jwt_svid_ttl', report),
    dnsNames: readDnsNames(value, report),
    federatesWith: readFederatesWith(value, trustDomain, report, true),
    hint: readHint(value, report),
    priority: 0,
    source,
  };
}

function readSelectorPair(value: unknown, report: Report, n: number): Selector | undefined {
  const path = ['selectors', n];
  if (
    !isMapping(value) ||
    typeof value['type'] !== 'string' ||
    typeof value['value'] !== 'string'
  ) {
    report(path, 'expected a selector such as {"type": "unix", "value": "uid:1000"}');
    return undefined;
  }
  checkKeys(value, SELECTOR_KEYS, (inner, expected, which) =>
    report([...path, ...inner], expected, which),
  );
  const text = selector(value['type'], value['value']);
  const fault = selectorFault(text);
  if (fault || value['type'].includes(':')) {
    report(path, `expected a selector, but ${fault ?? 'its type holds a colon'}`);
    return undefined;
  }
  return text;
}

function checkParent(value: unknown, trustDomain: TrustDomain, report: Report): void {
  if (value === undefined) return;
  const text = typeof value === 'string' ? value : '';
  const fault = spiffeIdFault(text);
  if (fault || !text.startsWith(`spiffe://${trustDomain}/`)) {
    const why = fault ?? `its trust domain is not ${trustDomain}`;
    report(['parent_id'], `expected the ID of a node of ${trustDomain}, but ${why}`);
  }
}

function refuse(value: Mapping, report: Report): void {
  for (const [key, why] of Object.entries(REFUSED)) {
    const set = value[key];
    if (set === true) report([key], `expected false: ${why}`);
    else if (set !== undefined && set !== false) {
      report([key], `expected true or false, got ${kindOf(set)}`);
    }
  }
  for (const key of EXPIRIES) {
    const set = value[key];
    if (set === undefined || set === 0 || set === '0') continue;
    report([key], 'expected 0: entries of a file do not expire, take the entry out instead');
  }
}

/** `ttl` is the name before SPIRE 1.5; SPIRE reads a lifetime of 0 as its default. */
function readX509Ttl(value: Mapping, report: Report): number | undefined {
  if (value['ttl'] !== undefined && value['x509_svid_ttl'] !== undefined) {
    report(['ttl'], 'expected either ttl or x509_svid_ttl, not both', 'key');
  }
  return readSeconds(value, value['ttl'] === undefined ? 'x509_svid_ttl' : 'ttl', report);
}

function readSeconds(value: Mapping, key: string, report: Report): number | undefined {
  const seconds = value[key];
  if (seconds === undefined || seconds === 0) return undefined;
  if (Number.isInteger(seconds)) return boundedTtl(Number(seconds) * 1000, key, report);
  report([key], `expected whole seconds, as SPIRE has it, got ${kindOf(seconds)}`);
  return undefined;
}
