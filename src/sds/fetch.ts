import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { SpiffeId } from '../identity/spiffe-id.ts';
import type { Codec, Incoming } from './codec.ts';
import type { DiscoveryRequest } from './messages.ts';
import { everyName, resolveName, type ResolveContext } from './resolve.ts';
import type { Secret } from './resources.ts';
import type { Connection, SdsContext, SdsSource } from './secret-stream.ts';

import { statusOf } from './status.ts';
import { Subscription } from './subscription.ts';

/** Answers `FetchSecrets`: all names at once or a status, waiting a bounded time for a first SVID. */
export async function fetchSecrets(
  call: ServerUnaryCall<Incoming<DiscoveryRequest>, Buffer>,
  callback: sendUnaryData<Buffer>,
  connection: Connection,
  codec: Codec<DiscoveryRequest>,
  context: SdsContext,
): Promise<void> {
  const abort = new AbortController();
  call.on('cancelled', () => abort.abort(new IdentityError('ERR_SHUTDOWN', 'call cancelled')));
  const timer = context.clock.after(context.config.pendingTimeoutMs, () =>
    abort.abort(new IdentityError('ERR_NOT_READY', 'nothing could be served in time')),
  );
  context.metrics.opened('fetch');
  try {
    const incoming = call.request;
    if (incoming.kind === 'malformed') throw incoming.error;
    const secrets = await collect(incoming.request, connection, codec, context, abort);
    context.metrics.pushed('fetch', 'sent');
    callback(null, codec.encode('', secrets));
  } catch (thrown) {
    const error = toIdentityError(thrown, 'ERR_ATTESTATION');
    context.metrics.ended('fetch', error.code);
    context.log.info(
      { peer_pid: connection.credentials.pid, code: error.code, reason: error.message },
      'fetch refused',
    );
    callback(statusOf(error));
  } finally {
    timer.cancel();
    context.metrics.closed('fetch');
  }
}

async function collect(
  request: DiscoveryRequest,
  connection: Connection,
  codec: Codec<DiscoveryRequest>,
  context: SdsContext,
  abort: AbortController,
): Promise<Secret[]> {
  const subscription = new Subscription();
  const { node, fault } = codec.apply(request, subscription);
  if (fault) throw fault;
  const caller = await connection.caller({ signal: abort.signal });
  const off = node?.disableSpiffeCertValidation ?? !context.config.spiffeCertValidation;
  return new Promise((resolve, reject) => {
    const fail = (reason: unknown) => {
      source.close();
      reject(toIdentityError(reason));
    };
    const look = () => {
      try {
        const secrets = resolveAll(subscription, {
          source,
          encoder: context.encoder,
          aliases: context.config.aliases,
          form: off ? 'plain' : 'spiffe',
        });
        if (!secrets) return;
        source.close();
        resolve(secrets);
      } catch (thrown) {
        fail(thrown);
      }
    };
    const source: SdsSource = context.attach(caller, { refresh: () => look(), gone: fail });
    abort.signal.addEventListener('abort', () => fail(abort.signal.reason), { once: true });
    look();
  });
}

/** All secrets, or undefined while one has to be waited for; throws when one is refused. */
function resolveAll(subscription: Subscription, context: ResolveContext): Secret[] | undefined {
  const names = subscription.wildcard ? everyName(context) : [...subscription.names()];
  const used = new Set<SpiffeId>();
  const secrets: Secret[] = [];
  const reasons: string[] = [];
  let complete = true;
  for (const name of names) {
    const resolution = resolveName(name, used, context);
    if (resolution.kind === 'ready') secrets.push(resolution.secret);
    else if (resolution.kind === 'waiting') complete = false;
    else reasons.push(resolution.reason);
  }
  if (reasons.length > 0) throw new IdentityError('ERR_DENIED', reasons.join('; '));
  return complete ? secrets : undefined;
}
