import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** What is served below the token. */
export type Resource = 'page' | 'status';

/** A request, as far as it decides who may have what. */
export interface Asked {
  readonly method: string | undefined;
  /** The request target as it was sent. */
  readonly target: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

export type Verdict =
  | { readonly kind: 'serve'; readonly resource: Resource }
  | { readonly kind: 'refuse'; readonly code: 403 | 404 | 405 };

/** How pages are asked for: a path that begins with the token. */
export interface Door {
  readonly token: string;
  /** As bound, not as asked for. */
  readonly port: number;
}

/**
 * Who may see the page. Any program of any user can connect to a port on loopback, and any web site
 * can make the user's browser do it: the first does not know the token, the second is told by the
 * headers that a browser lets no page set (Host, Origin, Sec-Fetch-Site).
 */
export function guard({ method, target, headers }: Asked, door: Door): Verdict {
  // A name that an attacker resolves to 127.0.0.1 makes his page same-origin with this port, but the
  // browser still says which name it asked (DNS rebinding).
  const host = headers.host?.toLowerCase() ?? '';
  if (!isOwnHost(host, door.port) || isForeign(headers, host)) return refuse(403);
  const [, token = '', resource] = /^\/([^/?#]{1,256})\/(|status)$/.exec(target ?? '') ?? [];
  if (resource === undefined || !sameToken(token, door.token)) return refuse(404);
  if (method !== 'GET' && method !== 'HEAD') return refuse(405);
  return { kind: 'serve', resource: resource === '' ? 'page' : 'status' };
}

/** Where the page is, and nothing else is. */
const ADDRESS = '127.0.0.1';

function isOwnHost(host: string, port: number): boolean {
  // No other name: what `localhost` reaches may be somebody else's port of [::1]. Port 80 goes without
  // saying (RFC 9110 4.2.1).
  return host === `${ADDRESS}:${port}` || (port === 80 && host === ADDRESS);
}

/** Whether another site is behind the request; clients that are no browsers say nothing of it. */
function isForeign({ origin, ...headers }: IncomingHttpHeaders, host: string): boolean {
  const site = headers['sec-fetch-site'];
  return (
    (origin !== undefined && origin !== `http://${host}`) ||
    (site !== undefined && site !== 'same-origin' && site !== 'none')
  );
}

/** Compares digests: what the time it takes could tell is of no use for a guess. */
function sameToken(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

const refuse = (code: 403 | 404 | 405): Verdict => ({ kind: 'refuse', code });
