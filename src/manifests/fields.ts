import { formatDuration } from '../core/duration.ts';
import { nearestWord } from '../core/nearest-word.ts';
import { kindOf, shown, type YamlPath } from '../core/yaml.ts';
import { trustDomainFault, type TrustDomain } from '../identity/spiffe-id.ts';
import { SVID_TTL_MS } from '../identity/svid.ts';

/** Called for each thing that is wrong; `path` begins at the top of the manifest. */
export type Report = (path: YamlPath, expected: string, which?: 'key' | 'value') => void;

export type Mapping = Readonly<Record<string, unknown>>;

export function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A part of a manifest: its members, where it stands, and who hears what is wrong in it. */
export interface Section {
  readonly value: Mapping;
  readonly path: YamlPath;
  readonly report: Report;
}

/** Reports every key that is not known: what it asks for might be a restriction. */
export function checkKeys({ value, path, report }: Section, known: readonly string[]): void {
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    const near = nearestWord(key, known);
    const help = near ? `did you mean ${near}?` : `expected one of ${known.join(', ')}`;
    report([...path, key], `unknown key, ${help}`, 'key');
  }
}

/** A mapping that may be absent; null counts as absent, as everywhere in Kubernetes. */
export function readSection(from: Section, key: string): Section | undefined {
  const value = from.value[key];
  if (value === undefined || value === null) return undefined;
  const path = [...from.path, key];
  if (isMapping(value)) return { value, path, report: from.report };
  from.report(path, `expected a mapping, got ${kindOf(value)}`);
  return undefined;
}

/** A text; empty when it is absent. */
export function readText({ value, path, report }: Section, key: string): string {
  const text = value[key] ?? '';
  if (typeof text === 'string') return text;
  report([...path, key], `expected a text, got ${kindOf(text)}`);
  return '';
}

export function readFlag({ value, path, report }: Section, key: string): boolean {
  const flag = value[key] ?? false;
  if (typeof flag === 'boolean') return flag;
  report([...path, key], `expected true or false, got ${kindOf(flag)}`);
  return false;
}

/** Reports a switch that is on and asks for what cannot be done. */
export function refuseFlags(from: Section, refused: Readonly<Record<string, string>>): void {
  for (const [key, why] of Object.entries(refused)) {
    if (readFlag(from, key)) from.report([...from.path, key], `expected false: ${why}`);
  }
}

/** A list of texts; those that are none are reported and left out. */
export function readTexts({ value, path, report }: Section, key: string): readonly string[] {
  const list = value[key] ?? [];
  if (!Array.isArray(list)) {
    report([...path, key], `expected a list of texts, got ${kindOf(list)}`);
    return [];
  }
  return list.filter((item: unknown, n): item is string => {
    if (typeof item === 'string') return true;
    report([...path, key, n], `expected a text, got ${kindOf(item)}`);
    return false;
  });
}

/** Names of trust domains, with or without `spiffe://`; without duplicates. */
export function readTrustDomains(from: Section, key: string): readonly TrustDomain[] {
  const names = readTexts(from, key).map((text, n) => {
    const name = text.startsWith('spiffe://') ? text.slice(9) : text;
    const fault = trustDomainFault(name);
    if (fault) {
      const expected = `expected a trust domain such as partner.example, but ${fault}`;
      from.report([...from.path, key, n], expected);
    }
    return name as TrustDomain;
  });
  return [...new Set(names)];
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a duration as Go writes it, `1h30m0s`; undefined when the text is none. */
export function parseGoDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (!/^(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit = ''] of text.matchAll(/([\d.]+)(ms|s|m|h)/g)) {
    total += Number(amount) * (UNITS[unit] ?? NaN);
  }
  return Math.round(total);
}

/** Lifetime of an SVID in milliseconds; undefined when it is absent or zero, so left to the issuer. */
export function readTtl(from: Section, key: string): number | undefined {
  const text = readText(from, key);
  const ms = text === '' ? 0 : parseGoDuration(text);
  const { min, max } = SVID_TTL_MS;
  if (ms === 0) return undefined;
  if (ms !== undefined && ms >= min && ms <= max) return ms;
  const range = `from ${formatDuration(min)} to ${formatDuration(max)}`;
  from.report(
    [...from.path, key],
    `expected a duration ${range}, such as 1h30m, got ${shown(text)}`,
  );
  return undefined;
}

/** SPIRE's bound for a hint. */
const MAX_HINT = 1024;

export function readHint(from: Section): string {
  const hint = readText(from, 'hint');
  if (hint.length > MAX_HINT) {
    const expected = `it has ${hint.length} characters, at most ${MAX_HINT} are allowed`;
    from.report([...from.path, 'hint'], expected);
  }
  return hint;
}
