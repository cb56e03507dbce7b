import type { sendUnaryData, ServerDuplexStream, ServerUnaryCall } from '@grpc/grpc-js';
import { abortReason } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Codec, Incoming } from './codec.ts';
import type { Connections } from './connections.ts';
import type { Connection, SdsContext } from './context.ts';
import { delta } from './delta.ts';
import type { DeltaDiscoveryRequest } from './delta-messages.ts';
import { fetchSecrets } from './fetch.ts';
import type { DiscoveryRequest } from './messages.ts';
import type { StreamKind } from './metrics.ts';
import { SecretStream } from './secret-stream.ts';
import { stateOfTheWorld } from './state-of-the-world.ts';
import { statusOf } from './status.ts';

/** A stream, as far as it does not matter how its messages look. */
export type OpenStream = Pick<
  SecretStream<unknown>,
  'connection' | 'pid' | 'pushes' | 'svids' | 'snapshot' | 'end'
>;
type StreamCall<Request> = ServerDuplexStream<Incoming<Request>, Buffer>;
type FetchCall = ServerUnaryCall<Incoming<DiscoveryRequest>, Buffer>;

/** The calls of all connections: who may make one, and the streams that are open. */
export class Calls {
  readonly #controlPlane: string;
  readonly #connections: Connections;
  readonly #context: SdsContext;
  readonly #streams = new Set<OpenStream>();

  constructor(controlPlane: string, connections: Connections, context: SdsContext) {
    this.#controlPlane = controlPlane;
    this.#connections = connections;
    this.#context = context;
  }

  handlers() {
    const sotw = stateOfTheWorld(this.#controlPlane);
    const incremental = delta(this.#controlPlane);
    return {
      StreamSecrets: (call: StreamCall<DiscoveryRequest>) => this.#stream(call, sotw),
      DeltaSecrets: (call: StreamCall<DeltaDiscoveryRequest>) => this.#stream(call, incremental),
      FetchSecrets: (call: FetchCall, callback: sendUnaryData<Buffer>) =>
        this.#fetch(call, callback, sotw),
    };
  }

  streams(): Iterable<OpenStream> {
    return this.#streams;
  }

  end(reason: IdentityError): void {
    for (const stream of [...this.#streams]) stream.end(reason);
  }

  #stream<Request>(call: StreamCall<Request>, codec: Codec<Request>): void {
    const { kind } = codec;
    const { admission, metrics } = this.#context;
    const refuse = (error: IdentityError) => void call.emit('error', statusOf(error));
    const connection = this.#admit(kind, call.getPeer(), refuse);
    if (!connection) return;
    metrics.opened(kind);
    const opened = new SecretStream(call, connection, codec, this.#context, () => {
      if (!this.#streams.delete(opened)) return;
      admission.close(connection.credentials);
      metrics.closed(kind);
    });
    this.#streams.add(opened);
  }

  #fetch(call: FetchCall, callback: sendUnaryData<Buffer>, codec: Codec<DiscoveryRequest>): void {
    const connection = this.#admit('fetch', call.getPeer(), (error) => callback(statusOf(error)));
    if (!connection) return;
    void fetchSecrets(call, callback, connection, codec, this.#context).finally(() =>
      this.#context.admission.close(connection.credentials),
    );
  }

  /** The connection of a call, counted; undefined when the call was refused and has its answer. */
  #admit(
    kind: StreamKind,
    peer: string,
    refuse: (error: IdentityError) => void,
  ): Connection | undefined {
    const { admission, closing, metrics } = this.#context;
    const connection = this.#connections.get(peer);
    if (!connection) {
      refuse(new IdentityError('ERR_BUG', 'call on an unknown socket'));
      return undefined;
    }
    if (closing.aborted) {
      refuse(toIdentityError(abortReason(closing)));
      return undefined;
    }
    try {
      const refusal = this.#connections.refusal(peer);
      if (refusal) throw refusal;
      admission.open(connection.credentials);
      return connection;
    } catch (thrown) {
      const error = toIdentityError(thrown);
      metrics.ended(kind, error.code);
      if (admission.insists(connection.credentials)) this.#connections.close(peer, error.message);
      refuse(error);
      return undefined;
    }
  }
}
