import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { ErrorCode } from '../core/errors.ts';

export type StreamKind = 'sotw' | 'delta' | 'fetch';
export type PushResult = 'ack' | 'nack' | 'sent' | 'error';
/** `unknown_name`: no policy could grant it. */
export type DenialReason = 'no_entry' | 'unknown_name';

/** What SDS tells the operator; labels are fixed sets, never what a caller chose. */
export interface SdsMetrics {
  opened(kind: StreamKind): void;
  closed(kind: StreamKind): void;
  pushed(kind: StreamKind, result: PushResult): void;
  ended(kind: StreamKind, code: ErrorCode): void;
  denied(reason: DenialReason): void;
  firstSecret(ms: number): void;
  /** A renewed SVID was written `ms` after its predecessor was due. */
  rotated(ms: number): void;
}

const KINDS: readonly StreamKind[] = ['sotw', 'delta', 'fetch'];
const RESULTS: readonly PushResult[] = ['ack', 'nack', 'sent', 'error'];

export function createSdsMetrics(registry: Registry, rotated: (ms: number) => void): SdsMetrics {
  const registers = [registry];
  const streams = new Gauge({
    name: 'credence_sds_streams',
    help: 'Open SDS streams',
    labelNames: ['kind'],
    registers,
  });
  const pushes = new Counter({
    name: 'credence_sds_pushes_total',
    help: 'Responses written, and what the proxies answered',
    labelNames: ['kind', 'result'],
    registers,
  });
  const ends = new Counter({
    name: 'credence_sds_stream_errors_total',
    help: 'Streams that Credence ended, by error code',
    labelNames: ['kind', 'code'],
    registers,
  });
  const denials = new Counter({
    name: 'credence_policy_denied_total',
    help: 'Names that were refused, by reason',
    labelNames: ['reason'],
    registers,
  });
  const first = new Histogram({
    name: 'credence_sds_first_secret_seconds',
    help: 'From the opening of a stream to its first secret being written',
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers,
  });
  for (const kind of KINDS) {
    streams.set({ kind }, 0);
    for (const result of RESULTS) pushes.inc({ kind, result }, 0);
  }
  for (const reason of ['no_entry', 'unknown_name'] as const) denials.inc({ reason }, 0);
  return {
    opened: (kind) => streams.inc({ kind }),
    closed: (kind) => streams.dec({ kind }),
    pushed: (kind, result) => pushes.inc({ kind, result }),
    ended: (kind, code) => ends.inc({ kind, code }),
    denied: (reason) => denials.inc({ reason }),
    firstSecret: (ms) => first.observe(ms / 1000),
    rotated,
  };
}
