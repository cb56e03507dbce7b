import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Clock } from '../core/clock.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { PushState } from './subscription.ts';

export type StreamKind = 'sotw' | 'delta' | 'fetch';
export type PushResult = 'ack' | 'nack' | 'sent' | 'error';
/** `unknown_name`: no policy could grant it. */
export type DenialReason = 'no_entry' | 'unknown_name';

/** What a peer may have no more of; each refusal for one counts once. */
export type Limit = (typeof LIMITS)[number];

/** What SDS tells the operator; labels are fixed sets, never what a caller chose. */
export interface SdsMetrics {
  opened(kind: StreamKind): void;
  closed(kind: StreamKind): void;
  pushed(kind: StreamKind, result: PushResult): void;
  ended(kind: StreamKind, code: ErrorCode): void;
  denied(reason: DenialReason): void;
  limited(limit: Limit): void;
  firstSecret(ms: number): void;
  /** A renewed SVID was written `ms` after its predecessor was due. */
  rotated(ms: number): void;
}

const KINDS: readonly StreamKind[] = ['sotw', 'delta', 'fetch'];
const RESULTS: readonly PushResult[] = ['ack', 'nack', 'sent', 'error'];
const LIMITS = [
  'connections',
  'connections_per_uid',
  'connections_per_pid',
  'streams',
  /** HTTP/2 has closed the connection; single streams that it refused show nowhere. */
  'streams_per_connection',
  'requests',
  /** Names on a stream, or the length of one. */
  'names',
  /** Calls that wait to be started. */
  'calls',
  'resets',
  'message_bytes',
  'message_pieces',
  'unfinished_messages',
  /** Refused so often that its connection was closed. */
  'refusals',
  /** Closed so often that it was kept out. */
  'offences',
] as const;

/** Registers what is to be alerted on; the streams are gone through once for each scrape. */
export function registerPushGauges(
  registry: Registry,
  streams: () => Iterable<{ pushes(): PushState }>,
  clock: Pick<Clock, 'now'>,
): void {
  const registers = [registry];
  // Registered first: a scrape asks in this order, so the others find their figures made.
  new Gauge({
    name: 'credence_sds_unacknowledged_pushes',
    help: 'Responses that proxies have neither accepted nor refused',
    registers,
    collect() {
      const now = clock.now();
      const sum = { unanswered: 0, oldestMs: now, notAfterMs: Infinity, refused: 0 };
      for (const stream of streams()) {
        const pushes = stream.pushes();
        sum.unanswered += pushes.unanswered;
        sum.oldestMs = Math.min(sum.oldestMs, pushes.oldestMs ?? now);
        sum.notAfterMs = Math.min(sum.notAfterMs, pushes.notAfterMs ?? Infinity);
        sum.refused += pushes.refused;
      }
      this.set(sum.unanswered);
      oldest.set((now - sum.oldestMs) / 1000);
      refused.set(sum.refused);
      inUse.reset();
      if (sum.notAfterMs < Infinity) {
        inUse.set({ quantile: 'min' }, (sum.notAfterMs - now) / 1000);
      }
    },
  });
  const oldest = new Gauge({
    name: 'credence_sds_oldest_unacknowledged_push_seconds',
    help: 'Age of the oldest secret that a proxy has neither accepted nor refused; 0 for none',
    registers,
  });
  const inUse = new Gauge({
    name: 'credence_sds_in_use_seconds_to_expiry',
    help: 'Until the certificate that a connected proxy uses and that ends first does; absent for none',
    labelNames: ['quantile'],
    registers,
  });
  const refused = new Gauge({
    name: 'credence_sds_refused_secrets',
    help: 'Secrets whose newest content a proxy refused and has not replaced since',
    registers,
  });
}

/** Shows in `registry` how far the proxies have come with the own trust domain's bundle. */
export function registerBundleReaders(
  registry: Registry,
  count: () => { readonly readers: number; readonly behind: number },
): void {
  new Gauge({
    name: 'credence_sds_bundle_readers',
    help: 'Proxies that read the bundle of the own trust domain, by whether they have accepted it as it is',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      const { readers, behind } = count();
      this.set({ state: 'current' }, readers - behind);
      this.set({ state: 'behind' }, behind);
    },
  });
}

export function createSdsMetrics(registry: Registry, rotated: (ms: number) => void): SdsMetrics {
  return {
    ...streamMetrics(registry),
    ...pushMetrics(registry),
    ...refusalMetrics(registry),
    rotated,
  };
}

function streamMetrics(registry: Registry): Pick<SdsMetrics, 'opened' | 'closed' | 'ended'> {
  const registers = [registry];
  const open = new Gauge({
    name: 'credence_sds_streams',
    help: 'Open SDS streams',
    labelNames: ['kind'],
    registers,
  });
  const ends = new Counter({
    name: 'credence_sds_stream_errors_total',
    help: 'Streams that Credence ended, by error code',
    labelNames: ['kind', 'code'],
    registers,
  });
  for (const kind of KINDS) open.set({ kind }, 0);
  return {
    opened: (kind) => open.inc({ kind }),
    closed: (kind) => open.dec({ kind }),
    ended: (kind, code) => ends.inc({ kind, code }),
  };
}

function pushMetrics(registry: Registry): Pick<SdsMetrics, 'pushed' | 'firstSecret'> {
  const registers = [registry];
  const pushes = new Counter({
    name: 'credence_sds_pushes_total',
    help: 'Responses written, and what the proxies answered',
    labelNames: ['kind', 'result'],
    registers,
  });
  const first = new Histogram({
    name: 'credence_sds_first_secret_seconds',
    help: 'From the opening of a stream to its first secret being written',
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers,
  });
  for (const kind of KINDS) {
    for (const result of RESULTS) pushes.inc({ kind, result }, 0);
  }
  return {
    pushed: (kind, result) => pushes.inc({ kind, result }),
    firstSecret: (ms) => first.observe(ms / 1000),
  };
}

function refusalMetrics(registry: Registry): Pick<SdsMetrics, 'denied' | 'limited'> {
  const registers = [registry];
  const denials = new Counter({
    name: 'credence_policy_denied_total',
    help: 'Names that were refused, by reason',
    labelNames: ['reason'],
    registers,
  });
  const limits = new Counter({
    name: 'credence_sds_limited_total',
    help: 'Connections and requests that were refused for a limit, by limit',
    labelNames: ['limit'],
    registers,
  });
  for (const limit of LIMITS) limits.inc({ limit }, 0);
  for (const reason of ['no_entry', 'unknown_name'] as const) denials.inc({ reason }, 0);
  return {
    denied: (reason) => denials.inc({ reason }),
    limited: (limit) => limits.inc({ limit }),
  };
}
