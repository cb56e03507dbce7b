import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { abortReason } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Caller } from '../identity/caller.ts';
import { requestOf, type Codec, type Incoming } from './codec.ts';
import type { Connection, SdsContext, SdsSource } from './context.ts';
import type { DiscoveryRequest } from './messages.ts';
import { Patience } from './patience.ts';
import { ATTESTATION, type ResolveContext } from './resolve.ts';
import { bundleFormOf, type Secret } from './resources.ts';
import { printable, statusOf, summary } from './status.ts';
import { streamFields } from './stream-log.ts';
import { Subscription } from './subscription.ts';
import { judge, look, type Denial, type Leeway } from './verdict.ts';

/** Answers `FetchSecrets`: all names at once or a status, waiting a bounded time for first SVIDs. */
export async function fetchSecrets(
  call: ServerUnaryCall<Incoming<DiscoveryRequest>, Buffer>,
  callback: sendUnaryData<Buffer>,
  connection: Connection,
  codec: Codec<DiscoveryRequest>,
  context: SdsContext,
): Promise<void> {
  const { admission, clock, config, log, metrics } = context;
  const abort = new AbortController();
  call.on('cancelled', () => abort.abort(new IdentityError('ERR_PEER_GONE', 'call cancelled')));
  const stop = () => abort.abort(abortReason(context.closing));
  context.closing.addEventListener('abort', stop, { once: true });
  const patience = new Patience(clock, config, ({ code, names }) =>
    abort.abort(new IdentityError(code, summary(names.map(({ reason }) => reason)))),
  );
  const fetching: Fetching = {
    patience,
    subscription: new Subscription(),
    names: 0,
    source: undefined,
    signal: abort.signal,
  };
  patience.wait({ code: 'ERR_NOT_READY', names: [ATTESTATION] });
  metrics.opened('fetch');
  try {
    const request = requestOf(call.request, metrics);
    const secrets = await collect(request, connection, codec, context, fetching);
    const response = codec.encode('', secrets);
    metrics.pushed('fetch', 'sent');
    callback(null, response);
  } catch (thrown) {
    // Nobody waits for the answer to a call that was cancelled.
    if (call.cancelled) return;
    const error = toIdentityError(thrown);
    const fields = {
      ...streamFields(connection.credentials, fetching.subscription, undefined),
      ...(fetching.source && { selectors: fetching.source.caller.selectors }),
      code: error.code,
    };
    metrics.ended('fetch', error.code);
    if (error.code === 'ERR_BUG') log.error({ ...fields, err: error }, 'fetch failed');
    else log.info({ ...fields, reason: printable(error.message) }, 'fetch refused');
    callback(statusOf(error));
  } finally {
    context.closing.removeEventListener('abort', stop);
    patience.wait(undefined);
    fetching.source?.close();
    admission.watch(connection.credentials, -fetching.names);
    metrics.closed('fetch');
  }
}

/** A fetch that goes on: its patience, and what it has to let go of. */
interface Fetching {
  readonly patience: Patience;
  readonly subscription: Subscription;
  /** As many as admission knows of. */
  names: number;
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
  const { signal, subscription } = fetching;
  const { admission, attach, config, encoder, metrics } = context;
  const { node, fault } = codec.apply(request, subscription);
  if (fault) throw fault;
  admission.request(connection.credentials, subscription.size, true);
  admission.watch(connection.credentials, subscription.size);
  fetching.names = subscription.size;
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(abortReason(signal)), { once: true });
  });
  const caller = await Promise.race([attested(connection, signal), aborted]);
  const form = bundleFormOf(node, config.spiffeCertValidation);
  const answer = new Promise<Secret[]>((resolve, reject) => {
    const source = attach(caller, { refresh, gone: reject });
    fetching.source = source;
    refresh();

    function refresh(): void {
      try {
        if (!source.caller.isAlive()) throw new IdentityError('ERR_PEER_GONE', 'it has ended');
        const resolving = { source, encoder, aliases: config.aliases, form };
        const secrets = resolveAll(subscription, resolving, fetching.patience, (denial) => {
          metrics.denied(denial.why);
          context.onDenied?.(caller, denial.why, denial.names);
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

const NO_LEEWAY: Leeway = { goesOn: false, mayPark: () => false };

/** All secrets, or undefined while one has to be waited for; throws when one is refused. */
function resolveAll(
  subscription: Subscription,
  context: ResolveContext,
  patience: Patience,
  onDenied: (denial: Denial) => void,
): Secret[] | undefined {
  const verdict = judge(look(subscription, context).seen, NO_LEEWAY);
  if (verdict.kind === 'deny') {
    onDenied(verdict);
    throw new IdentityError('ERR_DENIED', summary(verdict.reasons));
  }
  patience.wait(verdict.wait);
  return verdict.wait ? undefined : verdict.ready.map(({ secret }) => secret);
}
