import { formatDuration, parseDuration } from '../core/duration.ts';
import { nearestWord } from '../core/nearest-word.ts';
import { kindOf, type YamlPath } from '../core/yaml.ts';
import { dnsNameFault } from '../identity/dns-name.ts';
import { selectorFault, type Selector } from '../identity/selector.ts';
import { trustDomainFault, type TrustDomain } from '../identity/spiffe-id.ts';
import { SVID_TTL_MS } from '../identity/svid.ts';
import { templateFault } from './template.ts';
import { unixIdFault } from './unix-id.ts';

/** Called for each thing that is wrong; `path` begins inside the entry. */
export type Report = (path: YamlPath, expected: string, which?: 'key' | 'value') => void;

/** A mapping of a document. */
export type Mapping = Readonly<Record<string, unknown>>;

/** SPIRE's bound for a hint. */
const MAX_HINT = 1024;
const MAX_PRIORITY = 1_000_000;
const NONE: readonly never[] = [];

export function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reports every key that is not known, with the one that was probably meant. */
export function checkKeys(value: Mapping, known: ReadonlySet<string>, report: Report): void {
  for (const key in value) {
    if (known.has(key)) continue;
    const near = nearestWord(key, known);
    const help = near ? `did you mean ${near}?` : `expected one of ${[...known].join(', ')}`;
    report([key], `unknown key, ${help}`, 'key');
  }
}

export function readSpiffeId(value: unknown, trustDomain: TrustDomain, report: Report): string {
  if (typeof value !== 'string') {
    report(['spiffe_id'], `expected an ID such as ${example(trustDomain)}, got ${kindOf(value)}`);
    return '';
  }
  const fault = templateFault(value, trustDomain);
  if (fault) report(['spiffe_id'], `expected an ID such as ${example(trustDomain)}, but ${fault}`);
  return value;
}

/** All have to hold at once: nobody can mean more. */
const MAX_SELECTORS = 1024;

/** Reads a list of selectors, each read by `one`; without duplicates. */
export function readSelectors(
  value: unknown,
  report: Report,
  one: (value: unknown, report: Report, n: number) => Selector | undefined,
): readonly Selector[] {
  if (!Array.isArray(value) || value.length === 0) {
    const got = Array.isArray(value) ? 'an empty one' : kindOf(value);
    report(['selectors'], `expected a list of at least one selector, got ${got}`);
    return NONE;
  }
  if (value.length > MAX_SELECTORS) {
    report(['selectors'], `expected at most ${MAX_SELECTORS} selectors, got ${value.length}`);
    return NONE;
  }
  const selectors = new Set<Selector>();
  for (let n = 0; n < value.length; n++) {
    const selector = one(value[n], report, n);
    if (selector !== undefined) selectors.add(selector);
  }
  return [...selectors];
}

/** A selector in its text form, `type:value`. */
export function readSelectorText(value: unknown, report: Report, n: number): Selector | undefined {
  const path = ['selectors', n];
  if (typeof value !== 'string') {
    report(path, `expected a text such as "unix:uid:1000" (in quotes), got ${kindOf(value)}`);
    return undefined;
  }
  const fault = selectorFault(value) ?? numberFault(value);
  if (fault) report(path, `expected a selector such as unix:uid:1000, but ${fault}`);
  return fault ? undefined : (value as Selector);
}

/** Any other text in the place of a number would match nobody, and nobody would notice. */
function numberFault(selector: string): string | undefined {
  const [type, kind = ''] = selector.split(':', 2);
  if (type !== 'unix' || !['uid', 'gid', 'supplementary_gid'].includes(kind)) return undefined;
  return unixIdFault(kind, selector.slice(`unix:${kind}:`.length));
}

/** A duration as text (`30m`), in milliseconds. */
export function readTtl(entry: Mapping, key: string, report: Report): number | undefined {
  const value = entry[key];
  if (value === undefined) return undefined;
  const ms = typeof value === 'string' ? parseDuration(value) : undefined;
  if (ms === undefined) {
    const got = typeof value === 'string' ? `"${clip(value)}"` : kindOf(value);
    report([key], `expected a duration such as 30s, 10m or 1h, got ${got}`);
    return undefined;
  }
  return boundedTtl(ms, key, report);
}

/** Reports a lifetime outside the allowed range. */
export function boundedTtl(ms: number, key: string, report: Report): number | undefined {
  const { min, max } = SVID_TTL_MS;
  if (ms >= min && ms <= max) return ms;
  const range = `${formatDuration(min)} to ${formatDuration(max)}`;
  report([key], `expected a duration from ${range}, got ${formatDuration(ms)}`);
  return undefined;
}

export function readDnsNames(entry: Mapping, report: Report): readonly string[] {
  return readTexts(entry, 'dns_names', 'DNS name such as web.internal', report, dnsNameFault);
}

/** Foreign trust domains by name; `scheme` also takes SPIRE's `spiffe://` spelling. */
export function readFederatesWith(
  entry: Mapping,
  own: TrustDomain,
  report: Report,
  scheme = false,
): readonly TrustDomain[] {
  const strip = (text: string) => (scheme && text.startsWith('spiffe://') ? text.slice(9) : text);
  const kind = 'trust domain such as partner.example';
  const names = readTexts(entry, 'federates_with', kind, report, (text) =>
    strip(text) === own ? 'it is the own trust domain' : trustDomainFault(strip(text)),
  );
  return scheme ? [...new Set(names.map((name) => strip(name) as TrustDomain))] : cast(names);
}

export function readHint(entry: Mapping, report: Report): string {
  const value = entry['hint'];
  if (value === undefined) return '';
  if (typeof value !== 'string') {
    report(['hint'], `expected a text, got ${kindOf(value)}`);
    return '';
  }
  if (value.length > MAX_HINT) {
    report(['hint'], `it has ${value.length} characters, at most ${MAX_HINT} are allowed`);
  }
  return value;
}

export function readPriority(entry: Mapping, report: Report): number {
  const value = entry['priority'];
  if (value === undefined) return 0;
  if (Number.isInteger(value) && Math.abs(Number(value)) <= MAX_PRIORITY) return Number(value);
  const range = `-${MAX_PRIORITY} to ${MAX_PRIORITY}`;
  report(['priority'], `expected a whole number from ${range}, got ${kindOf(value)}`);
  return 0;
}

function readTexts(
  entry: Mapping,
  key: string,
  kind: string,
  report: Report,
  fault: (text: string) => string | undefined,
): readonly string[] {
  const value = entry[key];
  if (value === undefined) return NONE;
  if (!Array.isArray(value)) {
    report([key], `expected a list, got ${kindOf(value)}`);
    return NONE;
  }
  const seen = new Set<string>();
  for (const [n, item] of value.entries()) {
    if (typeof item !== 'string') {
      report([key, n], `expected a ${kind}, got ${kindOf(item)}`);
      continue;
    }
    const why = fault(item) ?? (seen.has(item.toLowerCase()) ? 'it is there twice' : undefined);
    if (why) report([key, n], `expected a ${kind}, but ${why}`);
    seen.add(item.toLowerCase());
  }
  return value as readonly string[];
}

function cast(names: readonly string[]): readonly TrustDomain[] {
  return names as readonly TrustDomain[];
}

function example(trustDomain: TrustDomain): string {
  return `spiffe://${trustDomain}/web`;
}

function clip(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
