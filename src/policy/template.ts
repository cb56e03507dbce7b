import { shown } from '../core/yaml.ts';
import type { Selector } from '../identity/selector.ts';
import {
  MAX_ID_BYTES,
  pathSegmentFault,
  spiffeIdFault,
  type SpiffeId,
  type TrustDomain,
} from '../identity/spiffe-id.ts';

/**
 * A SPIFFE ID with `{type:key}` placeholders, cut at them: literal, placeholder, literal, ...
 * `prefixes[n]` stands between `literals[n]` and `literals[n + 1]`.
 */
export interface IdTemplate {
  readonly literals: readonly string[];
  /** What the one selector begins with, the closing colon included: `k8s:ns:`. */
  readonly prefixes: readonly string[];
}

/** A caller's ID, or why the entry does not apply to it. */
export type Expansion =
  | { readonly kind: 'id'; readonly id: SpiffeId }
  | { readonly kind: 'none'; readonly reason: string };

const PLACEHOLDER = /\{([^{}]*)\}/g;
const PLACEHOLDER_INSIDE = /^[a-z][a-z0-9_-]*:[^\s]+$/;

/** Whether the text holds a placeholder, so has to be expanded for each caller. */
export function hasPlaceholder(text: string): boolean {
  return text.includes('{');
}

/** What is wrong with the text as a SPIFFE ID (template) of the trust domain, or undefined. */
export function templateFault(text: string, trustDomain: TrustDomain): string | undefined {
  const slash = text.indexOf('/', 'spiffe://'.length);
  const brace = text.indexOf('{');
  if (brace >= 0 && slash >= 0 && brace < slash) return 'its trust domain holds a placeholder';
  for (const [whole, inside = ''] of text.matchAll(PLACEHOLDER)) {
    if (!PLACEHOLDER_INSIDE.test(inside)) {
      return `its placeholder ${shown(whole)} is not written {type:key}, as in {k8s:ns}`;
    }
  }
  const filled = text.replace(PLACEHOLDER, 'x');
  if (/[{}]/.test(filled)) return 'its braces do not pair up';
  const fault = spiffeIdFault(filled);
  if (fault) return fault;
  const domain = text.slice('spiffe://'.length, slash);
  if (domain !== trustDomain) {
    return `its trust domain is ${shown(domain)}, this one's is ${trustDomain}`;
  }
  return undefined;
}

/**
 * Two placeholders in one segment, with nothing between them that values cannot hold, can give one
 * ID to two different callers: `{a}-{b}` is `x-y-z` for (x, y-z) and for (x-y, z).
 */
export function isAmbiguous(text: string): boolean {
  return text.split('/').some((segment) => (segment.match(PLACEHOLDER)?.length ?? 0) > 1);
}

/** Cuts a text that `templateFault` found nothing wrong with. */
export function parseTemplate(text: string): IdTemplate {
  const literals: string[] = [];
  const prefixes: string[] = [];
  let end = 0;
  for (const match of text.matchAll(PLACEHOLDER)) {
    literals.push(text.slice(end, match.index));
    prefixes.push(`${match[1] ?? ''}:`);
    end = match.index + match[0].length;
  }
  literals.push(text.slice(end));
  return { literals, prefixes };
}

/**
 * Fills in the caller's values. A value has to be one whole path segment by itself (SPIFFE-ID 2.2),
 * so that no selector can add a `/` or a `..`.
 */
export function expandTemplate(template: IdTemplate, selectors: readonly Selector[]): Expansion {
  let id = template.literals[0] ?? '';
  for (const [n, prefix] of template.prefixes.entries()) {
    const value = theOne(selectors, prefix);
    if (value === undefined) return none(prefix, 'the caller has no such selector');
    if (value === SEVERAL) return none(prefix, 'the caller has several such selectors');
    if (pathSegmentFault(value))
      return none(prefix, `"${shown(value)}" does not make a path segment`);
    id += value + (template.literals[n + 1] ?? '');
  }
  if (id.length > MAX_ID_BYTES) {
    const reason = `the ID has ${id.length} bytes, at most ${MAX_ID_BYTES} are allowed`;
    return { kind: 'none', reason };
  }
  return { kind: 'id', id: id as SpiffeId };
}

/**
 * The text with those placeholders filled in that have the same value for all who have the selectors:
 * of kinds (`unix:uid`) of which `isSingle` says that nobody has two.
 */
export function fillKnown(
  text: string,
  selectors: readonly Selector[],
  isSingle: (kind: string) => boolean,
): string {
  return text.replace(PLACEHOLDER, (whole, kind: string) => {
    const value = isSingle(kind) ? theOne(selectors, `${kind}:`) : undefined;
    return typeof value === 'string' && !pathSegmentFault(value) ? value : whole;
  });
}

const SEVERAL = Symbol('several');

function theOne(
  selectors: readonly Selector[],
  prefix: string,
): string | typeof SEVERAL | undefined {
  let found: string | undefined;
  for (const selector of selectors) {
    if (!selector.startsWith(prefix)) continue;
    if (found !== undefined && found !== selector) return SEVERAL;
    found = selector;
  }
  return found?.slice(prefix.length);
}

function none(prefix: string, why: string): Expansion {
  return { kind: 'none', reason: `{${prefix.slice(0, -1)}}: ${why}` };
}
