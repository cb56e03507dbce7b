import { IdentityError } from '../core/errors.ts';

declare const brand: unique symbol;
/** A trust domain's name, without scheme: `example.org`. Made by `parseTrustDomain` alone. */
export type TrustDomain = string & { readonly [brand]: 'TrustDomain' };
/** A SPIFFE ID with a path, in its one spelling: `spiffe://example.org/web`. */
export type SpiffeId = string & { readonly [brand]: 'SpiffeId' };

/** SPIFFE-ID 2.3: IDs are handled up to this length, scheme and domain included (ID-18, ID-20). */
export const MAX_ID_BYTES = 2048;
/** RFC 3986 host (ID-21). */
const MAX_TRUST_DOMAIN_BYTES = 255;

const SCHEME = 'spiffe://';
const TRUST_DOMAIN = /^[a-z0-9._-]+$/;
const SEGMENT = /^[A-Za-z0-9._-]+$/;

/**
 * Parses a trust domain name (ID-02, ID-06..ID-10). Never `new URL()`, which folds case and
 * resolves dots. Throws `ERR_BAD_REQUEST` with what was wrong.
 */
export function parseTrustDomain(text: string): TrustDomain {
  const fault = trustDomainFault(text);
  if (fault) throw new IdentityError('ERR_BAD_REQUEST', `invalid trust domain: ${fault}`);
  return text as TrustDomain;
}

/** Parses a SPIFFE ID that names a workload, so with a path (ID-01..ID-21, X5-03). */
export function parseSpiffeId(text: string): SpiffeId {
  const fault = spiffeIdFault(text);
  if (fault) throw new IdentityError('ERR_BAD_REQUEST', `invalid SPIFFE ID: ${fault}`);
  return text as SpiffeId;
}

/** What is wrong with the text as a trust domain name, or undefined. */
export function trustDomainFault(text: string): string | undefined {
  if (text.length === 0) return 'it is empty';
  if (text.startsWith(SCHEME)) return 'write the name without spiffe://';
  if (text.length > MAX_TRUST_DOMAIN_BYTES) {
    return `it has ${text.length} bytes, at most ${MAX_TRUST_DOMAIN_BYTES} are allowed`;
  }
  if (TRUST_DOMAIN.test(text)) return undefined;
  if (/[A-Z]/.test(text)) return 'capitals are not allowed';
  return 'only a-z, 0-9, dot, dash and underscore are allowed';
}

/** What is wrong with the text as a SPIFFE ID with a path, or undefined. */
export function spiffeIdFault(text: string): string | undefined {
  if (text.length > MAX_ID_BYTES) {
    return `it has ${text.length} bytes, at most ${MAX_ID_BYTES} are allowed`;
  }
  if (!text.startsWith(SCHEME)) return 'it does not start with spiffe://';
  const slash = text.indexOf('/', SCHEME.length);
  const domain = slash < 0 ? text.slice(SCHEME.length) : text.slice(SCHEME.length, slash);
  const fault = trustDomainFault(domain);
  if (fault) return `its trust domain is invalid: ${fault}`;
  if (slash < 0) return 'it has no path';
  for (const segment of text.slice(slash + 1).split('/')) {
    const reason = pathSegmentFault(segment);
    if (reason) return reason;
  }
  return undefined;
}

/** What is wrong with one path segment (ID-13..ID-16), or undefined. */
export function pathSegmentFault(segment: string): string | undefined {
  if (segment === '') return 'its path has an empty segment';
  if (segment === '.' || segment === '..') return 'its path has a segment of dots only';
  if (!SEGMENT.test(segment)) {
    return 'its path holds a character other than letters, digits, dot, dash and underscore';
  }
  return undefined;
}

/** The trust domain of an ID. */
export function trustDomainOf(id: SpiffeId): TrustDomain {
  return id.slice(SCHEME.length, id.indexOf('/', SCHEME.length)) as TrustDomain;
}

/** `spiffe://` plus the name: the ID of the trust domain itself. */
export function trustDomainId(name: TrustDomain): string {
  return SCHEME + name;
}
