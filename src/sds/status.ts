import { Metadata, status, type StatusObject } from '@grpc/grpc-js';
import type { ErrorCode, IdentityError } from '../core/errors.ts';

interface PublicStatus {
  readonly code: status;
  /** What the peer reads; undefined: the error's own message, which is written for the peer. */
  readonly publicMessage: string | undefined;
}

const HIDDEN = 'credence failed to answer, see its log';

/** The one place where an error becomes a gRPC status. */
const STATUS: Readonly<Record<ErrorCode, PublicStatus>> = {
  ERR_USAGE: { code: status.INTERNAL, publicMessage: HIDDEN },
  ERR_CONFIG: { code: status.INTERNAL, publicMessage: HIDDEN },
  ERR_POLICY: { code: status.INTERNAL, publicMessage: HIDDEN },
  ERR_SOCKET: { code: status.INTERNAL, publicMessage: HIDDEN },
  ERR_ALREADY_RUNNING: { code: status.INTERNAL, publicMessage: HIDDEN },
  ERR_UNREACHABLE: { code: status.UNAVAILABLE, publicMessage: HIDDEN },
  ERR_KEY_STORE: { code: status.UNAVAILABLE, publicMessage: 'signing is not possible right now' },
  ERR_DISK: { code: status.UNAVAILABLE, publicMessage: 'signing is not possible right now' },
  ERR_ISSUER: { code: status.UNAVAILABLE, publicMessage: 'signing is not possible right now' },
  ERR_PEER_GONE: {
    code: status.UNAVAILABLE,
    publicMessage: 'the process that opened this connection has ended or is another one now',
  },
  ERR_PEER_HIDDEN: { code: status.PERMISSION_DENIED, publicMessage: undefined },
  ERR_ATTESTATION: {
    code: status.UNAVAILABLE,
    publicMessage: 'this process could not be attested, see the log of credence',
  },
  ERR_DENIED: { code: status.PERMISSION_DENIED, publicMessage: undefined },
  ERR_NOT_READY: { code: status.UNAVAILABLE, publicMessage: undefined },
  ERR_LIMIT: { code: status.RESOURCE_EXHAUSTED, publicMessage: undefined },
  ERR_BAD_REQUEST: { code: status.INVALID_ARGUMENT, publicMessage: undefined },
  ERR_SHUTDOWN: { code: status.UNAVAILABLE, publicMessage: 'credence is shutting down' },
  ERR_BUG: { code: status.INTERNAL, publicMessage: HIDDEN },
};

/** Envoy cuts long texts in its log, and HTTP/2 limits headers. */
const MAX_MESSAGE = 512;
const MAX_REASONS = 8;

/** What the peer gets for an error: a status and a sentence, never a cause. */
export function statusOf(error: IdentityError): Partial<StatusObject> {
  const { code, publicMessage } = STATUS[error.code];
  return { code, ...readable(publicMessage ?? error.message) };
}

/**
 * A text for a status. Envoy logs grpc-message as it arrives. grpc-js would encode every blank; the
 * gRPC protocol asks for that only outside printable ASCII and for the percent sign itself.
 */
export function readable(text: string): { details: string; metadata: Metadata } {
  const details = printable(text);
  const metadata = new Metadata();
  metadata.set('grpc-message', details.replaceAll('%', '%25'));
  return { details, metadata };
}

/** Several reasons as one text of bounded length: their number is the caller's choice. */
export function summary(reasons: readonly string[]): string {
  const [first = ''] = reasons;
  if (reasons.length === 1) return printable(first);
  const shown = reasons.slice(0, MAX_REASONS).map((reason) => printable(reason));
  const rest = reasons.length - shown.length;
  return printable(`${shown.join('; ')}${rest > 0 ? `; and ${rest} more` : ''}`);
}

/** Printable ASCII of bounded length; everything else becomes `?`. */
export function printable(text: string): string {
  const clean = text.replace(/[^\x20-\x7e]/g, '?');
  return clean.length <= MAX_MESSAGE ? clean : `${clean.slice(0, MAX_MESSAGE - 3)}...`;
}
