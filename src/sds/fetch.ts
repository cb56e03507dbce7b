import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { abortReason } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Caller } from '../identity/caller.ts';
import type { Codec, Incoming } from './codec.ts';
import type { DiscoveryRequest } from './messages.ts';
import type { SdsMetrics } from './metrics.ts';
import { everyName, survey, type ResolveContext } from './resolve.ts';
import { bundleFormOf, type Secret } from './resources.ts';
import type { Connection, SdsContext, SdsSource } from './context.ts';
import { printable, statusOf, summary } from './status.ts';
import { Subscription } from './subscription.ts';

/** Answers `FetchSecrets`: all names at once or a status, waiting a bounded time for a first SVID. */
export async function fetchSecrets(
  call: ServerUnaryCall<Incoming<DiscoveryRequest>, Buffer>,
  callback: sendUnaryData<Buffer>,
  connection: Connection,
  codec: Codec<DiscoveryRequest>,
  context: SdsContext,
): Promise<void> {
  const { clock, log, metrics } = context;
  const abort = new AbortController();
  call.on('cancelled', () => abort.abort(new IdentityError('ERR_SHUTDOWN', 'call cancelled')));
  const fetching: Fetching = {
    waiting: ['the process has not been attested yet'],
    source: undefined,
    signal: abort.signal,
  };
  const timer = clock.after(context.config.pendingTimeoutMs, () =>
    abort.abort(new IdentityError('ERR_NOT_READY', summary(fetching.waiting))),
  );
  metrics.opened('fetch');
  try {
    const incoming = call.request;
    if (incoming.kind === 'malformed') throw incoming.error;
    const secrets = await collect(incoming.request, connection, codec, context, fetching);
    const response = codec.encode('', secrets);
    metrics.pushed('fetch', 'sent');
    callback(null, response);
  } catch (thrown) {
    const error = toIdentityError(thrown);
    const { pid, uid } = connection.credentials;
    const fields = { peer_pid: pid, peer_uid: uid, code: error.code };
    metrics.ended('fetch', error.code);
    if (error.code === 'ERR_BUG') log.error({ ...fields, err: error }, 'fetch failed');
    else log.info({ ...fields, reason: printable(error.message) }, 'fetch refused');
    callback(statusOf(error));
  } finally {
    timer.cancel();
    fetching.source?.close();
    metrics.closed('fetch');
  }
}

/** A fetch that goes on: what it waits for now, and what it has to let go of. */
interface Fetching {
  waiting: readonly string[];
  source: SdsSource | undefined;
  readonly signal: AbortSignal;
}

async function collect(
  request: DiscoveryRequest,
  connection: Connection,
  codec: Codec<DiscoveryRequest>,
  context: SdsContext,
  fetching: Fetching,
): Promise<Secret[]> {
  const { signal } = fetching;
  const subscription = new Subscription();
  const { node, fault } = codec.apply(request, subscription);
  if (fault) throw fault;
  context.admission.request(connection.credentials, subscription.size, true);
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(abortReason(signal)), { once: true });
  });
  const caller = await Promise.race([attested(connection, signal), aborted]);
  const form = bundleFormOf(node, context.config.spiffeCertValidation);
  const answer = new Promise<Secret[]>((resolve, reject) => {
    const source = context.attach(caller, { refresh: look, gone: reject });
    fetching.source = source;
    look();

    function look(): void {
      try {
        if (!source.caller.isAlive()) throw new IdentityError('ERR_PEER_GONE', 'it has ended');
        const secrets = resolveAll(subscription, fetching, context.metrics, {
          source,
          encoder: context.encoder,
          aliases: context.config.aliases,
          form,
        });
        if (secrets) resolve(secrets);
      } catch (thrown) {
        reject(toIdentityError(thrown));
      }
    }
  });
  return Promise.race([answer, aborted]);
}

async function attested(connection: Connection, signal: AbortSignal): Promise<Caller> {
  try {
    return await connection.caller({ signal });
  } catch (thrown) {
    throw toIdentityError(thrown, 'ERR_ATTESTATION');
  }
}

/** All secrets, or undefined while one has to be waited for; throws when one is refused. */
function resolveAll(
  subscription: Subscription,
  fetching: Fetching,
  metrics: SdsMetrics,
  context: ResolveContext,
): Secret[] | undefined {
  const names = subscription.wildcard ? everyName(context) : [...subscription.names()];
  const { ready, waiting, denied, refused } = survey(names, context);
  fetching.waiting = waiting;
  const reasons = refused === undefined ? denied.map(({ reason }) => reason) : [refused];
  if (reasons.length > 0) {
    metrics.denied(refused === undefined ? 'no_entry' : 'unknown_name');
    throw new IdentityError('ERR_DENIED', summary(reasons));
  }
  return waiting.length === 0 ? ready.map(({ secret }) => secret) : undefined;
}
