import type { TrustBundle } from '../../src/identity/bundle.ts';
import type { Caller } from '../../src/identity/caller.ts';
import type { Entitlement } from '../../src/identity/entitlement.ts';
import { pemBytes } from '../../src/identity/pem.ts';
import { PrivateKey } from '../../src/identity/private-key.ts';
import { selector } from '../../src/identity/selector.ts';
import { parseSpiffeId, parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import type { X509Svid } from '../../src/identity/svid.ts';

export const OWN = parseTrustDomain('example.org');
export const PARTNER = parseTrustDomain('partner.example');
export const WEB = parseSpiffeId('spiffe://example.org/web');
export const API = parseSpiffeId('spiffe://example.org/api');

export function entitlement(id: string, more: Partial<Entitlement> = {}): Entitlement {
  return {
    id: parseSpiffeId(id),
    x509SvidTtlMs: undefined,
    jwtSvidTtlMs: undefined,
    dnsNames: [],
    federatesWith: [],
    hint: '',
    priority: 0,
    source: 'policy.yaml:1',
    ...more,
  };
}

/** An SVID whose bytes only look like one: for whoever passes it on without reading it. */
export function fakeSvid(
  id: string,
  { serial = '01', issuedAtMs = 0, ttlMs = 3_600_000, authorityId = 'aa'.repeat(20) } = {},
): X509Svid {
  const chain = [Buffer.from(`leaf ${serial} of ${id}`), Buffer.from('intermediate')];
  return {
    id: parseSpiffeId(id),
    chain,
    chainPem: Buffer.concat(chain.map((der) => pemBytes('CERTIFICATE', der))),
    key: new PrivateKey(Buffer.from(`key ${serial} of ${id}`)),
    serial,
    authorityId,
    notBeforeMs: issuedAtMs - 10_000,
    notAfterMs: issuedAtMs + ttlMs,
  };
}

/** A trust bundle whose roots only look like some. */
export function fakeBundle(trustDomain: string, sequence = 1, roots = 1): TrustBundle {
  return {
    trustDomain: parseTrustDomain(trustDomain),
    sequence,
    x509Authorities: Array.from({ length: roots }, (_, n) => ({
      der: Buffer.from(`root ${n} of ${trustDomain} at ${sequence}`),
      notAfterMs: 1e15,
    })),
  };
}

/** A process that lives until `kill`. */
export function fakeCaller(pid = 1, uid = 1000): Caller & { kill(reason?: Error): void } {
  const gone = new AbortController();
  return {
    key: `process ${pid}`,
    credentials: { pid, uid, gid: uid },
    selectors: [selector('unix', `uid:${uid}`)],
    onChange: () => () => undefined,
    gone: gone.signal,
    isAlive: () => !gone.signal.aborted,
    isUnchanged: () => !gone.signal.aborted,
    kill: (reason) => gone.abort(reason),
  };
}
