import { list, record, text } from '../kubernetes/fields.ts';

/** How far a CertificateSigningRequest has come. */
export interface Progress {
  readonly isApproved: boolean;
  /** Nothing will come of it any more, or it has its certificate. */
  readonly isDone: boolean;
  /** It was refused, by us or somebody else. */
  readonly isRefused: boolean;
}

export function progressOf(request: unknown): Progress {
  const status = record(record(request)['status']);
  const types = list(status['conditions']).map((one) => text(record(one)['type']));
  const isRefused = types.includes('Denied') || types.includes('Failed');
  return {
    isApproved: types.includes('Approved'),
    isRefused,
    isDone: isRefused || text(status['certificate']) !== '',
  };
}

export interface Condition {
  readonly type: 'Approved' | 'Denied' | 'Failed';
  readonly reason: string;
  readonly message: string;
}

/** The request with one more condition and, where there is one, its certificate. */
export function withStatus(
  request: unknown,
  change: { readonly condition?: Condition; readonly certificate?: Buffer },
  nowMs: number,
): object {
  const object = record(request);
  const status = record(object['status']);
  const { condition, certificate } = change;
  const at = new Date(Math.floor(nowMs / 1000) * 1000).toISOString().replace('.000Z', 'Z');
  const more = condition && { ...condition, status: 'True', lastUpdateTime: at };
  return {
    ...object,
    status: {
      ...status,
      conditions: [...list(status['conditions']), ...(more ? [more] : [])],
      ...(certificate ? { certificate: certificate.toString('base64') } : {}),
    },
  };
}
