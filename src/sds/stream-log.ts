import type { ErrorCode, IdentityError } from '../core/errors.ts';
import type { LogFields, Logger } from '../core/log.ts';
import type { PeerCredentials } from '../identity/caller.ts';
import type { NonceAnswer, ResponseCodec } from './codec.ts';
import type { SdsContext } from './context.ts';
import type { NodeInfo } from './node-info.ts';
import { printable } from './status.ts';
import type { Subscription } from './subscription.ts';

const MAX_LOGGED_NAMES = 16;

/** What every line about a stream says; texts of the proxy are cut and made printable. */
export function streamFields(
  { pid, uid }: PeerCredentials,
  subscription: Subscription,
  node: NodeInfo | undefined,
): LogFields {
  return {
    peer_pid: pid,
    peer_uid: uid,
    resource_names: [...subscription.names()].slice(0, MAX_LOGGED_NAMES).map(printable),
    ...(node === undefined ? {} : { node_id: printable(node.id) }),
  };
}

/** Counts what a proxy said to a response, and has a line for what it refused. */
export function noteAnswer(
  { kind, error, refused }: NonceAnswer,
  variant: ResponseCodec['kind'],
  { log, metrics }: Pick<SdsContext, 'log' | 'metrics'>,
  stream: () => LogFields,
): void {
  if (kind === 'stale') {
    log.debug(stream(), 'answer with an unknown nonce ignored');
  } else if (error === undefined) {
    metrics.pushed(variant, 'ack');
  } else {
    metrics.pushed(variant, 'nack');
    const names = refused.slice(0, MAX_LOGGED_NAMES).map(printable);
    const fields = { ...stream(), resource_names: names, detail: printable(error) };
    log.warn(fields, 'proxy refused an update');
  }
}

/** The line about the end of a stream, as loud as its reason is. */
export function logEnd(log: Logger, stream: LogFields, error: IdentityError): void {
  const fields = { ...stream, code: error.code, reason: printable(error.message) };
  if (error.code === 'ERR_BUG') log.error({ ...fields, err: error }, 'stream ended');
  else log[isRoutine(error.code) ? 'debug' : 'info'](fields, 'stream ended');
}

/** Ends that need no line: a refusal has one already, and at shutdown all streams end. */
function isRoutine(code: ErrorCode): boolean {
  return code === 'ERR_DENIED' || code === 'ERR_SHUTDOWN' || code === 'ERR_PEER_GONE';
}
