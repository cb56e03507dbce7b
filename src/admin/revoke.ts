import { IdentityError, toIdentityError } from '../core/errors.ts';
import { json, type Answer } from './answer.ts';
import { parseSerial } from '../identity/serial.ts';
import { parseSpiffeId, type SpiffeId } from '../identity/spiffe-id.ts';
import {
  isRevocationReason,
  REVOCATION_REASONS,
  type RevocationReason,
} from '../identity/revocation-reason.ts';

/** What is to be revoked, as it was asked for. */
export type RevokeOrder = { readonly reason: RevocationReason } & (
  { readonly serial: string } | { readonly spiffeId: SpiffeId }
);

/** What came of it; times are wall clock in milliseconds. */
export interface RevokeOutcome {
  readonly revoked: readonly {
    readonly serial: string;
    readonly issuerKeyId: string;
    readonly spiffeId: string | undefined;
    readonly reason: string;
    readonly revokedAtMs: number;
    readonly notAfterMs: number;
  }[];
  readonly unknown: boolean;
  readonly incomplete: boolean;
  readonly nextUpdateMs: number | undefined;
}

/** Who revokes; rejects with `ERR_ISSUER` when it cannot be, `ERR_NOT_READY` when nothing signs yet. */
export type Revoke = (
  order: RevokeOrder,
  options: { signal: AbortSignal },
) => Promise<RevokeOutcome>;

/** Where it is asked for. */
export const REVOKE_PATH = '/ca/svids/revoke';

/** The answer to `POST /ca/svids/revoke?serial=HEX` or `?spiffe_id=ID`, with `&reason=` if told. */
export async function revokeAnswer(
  revoke: Revoke,
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<Answer> {
  try {
    const outcome = await revoke(parseOrder(query), { signal });
    return json(documentOf(outcome));
  } catch (thrown) {
    const { code, message, hint } = toIdentityError(thrown);
    const status = STATUS[code];
    if (status === undefined) throw thrown;
    return json({ error: message, ...(hint !== undefined && { hint }) }, status);
  }
}

const STATUS: Readonly<Partial<Record<string, number>>> = {
  ERR_BAD_REQUEST: 400,
  ERR_ISSUER: 409,
  ERR_NOT_READY: 409,
  ERR_DISK: 507,
};

function parseOrder(query: URLSearchParams): RevokeOrder {
  const [serial, ...serials] = query.getAll('serial');
  const [spiffeId, ...ids] = query.getAll('spiffe_id');
  const [reason = 'unspecified', ...reasons] = query.getAll('reason');
  const one = (serial === undefined) !== (spiffeId === undefined);
  if (!one || serials.length + ids.length + reasons.length > 0) {
    throw bad('one of serial and spiffe_id is to be given, once, and a reason at most once');
  }
  if (!isRevocationReason(reason)) {
    throw bad(`reason is to be one of ${Object.keys(REVOCATION_REASONS).join(' ')}`);
  }
  return serial === undefined
    ? { reason, spiffeId: parseSpiffeId(spiffeId ?? '') }
    : { reason, serial: parseSerial(serial) };
}

function documentOf({ revoked, unknown, incomplete, nextUpdateMs }: RevokeOutcome): unknown {
  return {
    revoked: revoked.map((one) => ({
      serial: one.serial,
      authority: one.issuerKeyId,
      spiffe_id: one.spiffeId ?? null,
      reason: one.reason,
      revoked_at: new Date(one.revokedAtMs).toISOString(),
      not_after: new Date(one.notAfterMs).toISOString(),
    })),
    unknown_serial: unknown,
    may_be_incomplete: incomplete,
    crls_next_update: nextUpdateMs === undefined ? null : new Date(nextUpdateMs).toISOString(),
  };
}

function bad(message: string): IdentityError {
  return new IdentityError('ERR_BAD_REQUEST', message);
}
