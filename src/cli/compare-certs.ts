import { IdentityError } from '../core/errors.ts';
import type { SecretState } from '../ui/view.ts';
import { plainSerial, type EnvoyContext } from './envoy-admin.ts';
import type { ProxyView } from './status-view.ts';

/** A certificate at one of the two ends. */
export interface Seen {
  readonly serial: string;
  /** Wall clock in milliseconds. */
  readonly notAfterMs: number | undefined;
}

/** What both ends say of one identity. */
export interface Pairing {
  readonly spiffeId: string;
  /** Where the secret is on its way, for one that differs. */
  readonly secret: SecretState;
  readonly verdict: 'in_sync' | 'differs' | 'not_found' | 'withdrawn';
  /** What it has to be: sent last, or accepted before it was withdrawn. */
  readonly sent: readonly Seen[];
  /** What Envoy has in use, each serial once. */
  readonly inUse: readonly Seen[];
}

/** What one Envoy has in use beside what it was sent. */
export interface Comparison {
  readonly pid: number;
  readonly nodeId: string | null;
  readonly pairings: readonly Pairing[];
  /** Identities whose TLS context has no roots: it verifies nobody. */
  readonly withoutRoots: readonly string[];
  /** Names of secrets in the place of roots that hold none, as certificates do. */
  readonly emptyRoots: readonly string[];
  /** Why there may be more of these. */
  readonly notSeen?: string;
  /** TLS contexts with neither certificate nor roots. */
  readonly empty: number;
  /** Whether it was sent roots. If not, it may be meant to verify nobody, as in one-way TLS. */
  readonly sentRoots: boolean;
  readonly inSync: boolean;
}

/** All connections of one process. */
interface Proxy {
  readonly pid: number;
  readonly nodeId: string | null;
  /** By SPIFFE ID, as sent last on each stream. */
  readonly sent: ReadonlyMap<string, readonly SecretState[]>;
  readonly sentRoots: boolean;
}

/**
 * Compares what an Envoy has in use with what the daemon sent to it. Which proxy that is follows from
 * the serial numbers, no two processes have one in common; else from the SPIFFE IDs, or `pid` names
 * it. Throws `ERR_DENIED` when it is none of them or Envoy lists no certificate, `ERR_USAGE` when it
 * may be several.
 */
export function compareCerts(
  proxies: readonly ProxyView[],
  contexts: readonly EnvoyContext[],
  pid: number | undefined,
): Comparison {
  if (contexts.every(({ bare }) => bare)) throw nothingListed();
  const proxy = findProxy(processes(proxies), contexts, pid);
  const pairings = [...proxy.sent].map(([id, secrets]) => pair(id, secrets, contexts));
  const withoutRoots = contexts
    .filter(({ roots }) => roots === 0)
    .flatMap(({ leaves }) => leaves.map(({ spiffeId }) => spiffeId))
    .filter((id) => proxy.sent.has(id));
  const empty = contexts.filter(({ bare, roots }) => bare && roots === 0).length;
  const missesRoots = proxy.sentRoots && withoutRoots.length + empty > 0;
  return {
    pid: proxy.pid,
    nodeId: proxy.nodeId,
    pairings,
    withoutRoots: [...new Set(withoutRoots)],
    emptyRoots: [],
    empty: proxy.sentRoots ? empty : 0,
    sentRoots: proxy.sentRoots,
    inSync: !missesRoots && pairings.every(isSettled),
  };
}

/** A withdrawn certificate is gone when Envoy has none. */
const isSettled = ({ verdict, inUse }: Pairing) =>
  verdict === 'in_sync' || (verdict === 'withdrawn' && inUse.length === 0);

/** Nothing can be compared, which is not to say that anything is wrong. */
function nothingListed(): IdentityError {
  const why = 'fetched on demand (docs/on-demand.md) or no listener is active';
  return new IdentityError('ERR_DENIED', `this Envoy's /certs lists no certificate: ${why}`);
}

function processes(proxies: readonly ProxyView[]): readonly Proxy[] {
  const found = new Map<
    number,
    { nodeId: string | null; sent: Map<string, SecretState[]>; sentRoots: boolean }
  >();
  for (const { pid, nodeId, streams } of proxies) {
    if (pid === null) continue;
    const all = streams.flatMap(({ secrets }) => secrets);
    const known = found.get(pid) ?? { nodeId, sent: new Map<string, SecretState[]>() };
    const sentRoots = found.get(pid)?.sentRoots === true || all.some(isRoots);
    found.set(pid, { ...known, nodeId: known.nodeId ?? nodeId, sentRoots });
    for (const secret of all) {
      const { spiffeId, serial } = expected(secret) ?? {};
      if (spiffeId == null || serial == null) continue;
      const secrets = known.sent.get(spiffeId);
      if (secrets) secrets.push(secret);
      else known.sent.set(spiffeId, [secret]);
    }
  }
  return [...found].map(([pid, proxy]) => ({ pid, ...proxy }));
}

const isRoots = ({ sent, serial, state }: SecretState) =>
  sent !== null && serial === null && state !== 'absent' && state !== 'withdrawn';

/** What Envoy should have: what it was sent last, or after a withdrawal what it keeps. */
const expected = (secret: SecretState) => (secret.state === 'withdrawn' ? secret.inUse : secret);

function findProxy(
  proxies: readonly Proxy[],
  contexts: readonly EnvoyContext[],
  pid: number | undefined,
): Proxy {
  if (pid !== undefined) {
    const named = proxies.find((proxy) => proxy.pid === pid);
    if (named && named.sent.size > 0) return named;
    const why = named ? 'was sent no certificate yet' : 'is not connected';
    throw new IdentityError('ERR_DENIED', `the process with pid ${pid} ${why}`, {
      hint: `connected are ${listed(proxies)}`,
    });
  }
  const leaves = contexts.flatMap((context) => context.leaves);
  const serials = new Set(leaves.map(({ serial }) => serial));
  const ids = new Set(leaves.map(({ spiffeId }) => spiffeId));
  const serialsOf = ({ sent }: Proxy) => [...sent.values()].flat().map((s) => serialOf(s));
  const bySerial = proxies.filter((proxy) =>
    serialsOf(proxy).some((serial) => serials.has(serial)),
  );
  const byId = proxies.filter(({ sent }) => [...sent.keys()].some((id) => ids.has(id)));
  const candidates = bySerial.length > 0 ? bySerial : byId;
  const [only, ...others] = candidates;
  if (!only) {
    const message =
      'no connected proxy was sent a certificate of a SPIFFE ID that this Envoy has in use';
    throw new IdentityError('ERR_DENIED', message, {
      hint: `--pid N names it; connected are ${listed(proxies)}`,
    });
  }
  if (others.length === 0) return only;
  throw new IdentityError('ERR_USAGE', 'several proxies may be the one with this admin interface', {
    hint: `--pid N names it: ${listed(candidates)}`,
  });
}

/** More would not be read. */
const MOST_LISTED = 10;

function listed(proxies: readonly Proxy[]): string {
  const more = proxies.length - MOST_LISTED;
  const some = proxies.slice(0, MOST_LISTED).map((proxy) => proxy.pid);
  if (some.length === 0) return 'none';
  return `${some.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function pair(
  spiffeId: string,
  secrets: readonly SecretState[],
  contexts: readonly EnvoyContext[],
): Pairing {
  const sent = distinct(
    secrets.map((secret) => ({
      serial: serialOf(secret),
      notAfterMs: expected(secret)?.notAfterMs ?? undefined,
    })),
  );
  const inUse = distinct(
    contexts.flatMap(({ leaves }) => leaves.filter((leaf) => leaf.spiffeId === spiffeId)),
  );
  const same =
    sent.length === inUse.length && sent.every((one) => inUse.some((other) => isSame(one, other)));
  const [secret] = secrets as [SecretState];
  const unsettled = secrets.find(({ state }) => state !== 'accepted') ?? secret;
  const found = { spiffeId, secret: unsettled, sent, inUse };
  if (secrets.every(({ state }) => state === 'withdrawn')) {
    return { ...found, verdict: 'withdrawn' };
  }
  return { ...found, verdict: same ? 'in_sync' : inUse.length === 0 ? 'not_found' : 'differs' };
}

function distinct(seen: readonly Seen[]): readonly Seen[] {
  const bySerial = new Map(seen.map(({ serial, notAfterMs }) => [serial, { serial, notAfterMs }]));
  return [...bySerial.values()];
}

/** Certificates end at a whole second (RFC 5280 4.1.2.5). */
function isSame(a: Seen, b: Seen): boolean {
  const seconds = ({ notAfterMs }: Seen) => Math.floor((notAfterMs ?? NaN) / 1000);
  return a.serial === b.serial && seconds(a) === seconds(b);
}

const serialOf = (secret: SecretState) => plainSerial(expected(secret)?.serial ?? '');
