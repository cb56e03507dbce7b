import type { Duplex } from 'node:stream';
import {
  logVerbosity,
  Server,
  ServerCredentials,
  setLogVerbosity,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import { abortReason } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { MAX_ID_BYTES } from '../identity/spiffe-id.ts';
import { fetchSecrets } from './fetch.ts';
import type { DiscoveryRequest } from './messages.ts';
import type { Connection, SdsContext } from './context.ts';
import { SecretStream, type StreamSnapshot } from './secret-stream.ts';
import type { Codec, Incoming } from './codec.ts';
import { delta } from './delta.ts';
import type { DeltaDiscoveryRequest } from './delta-messages.ts';
import { guardHttp2, OFFENCES } from './http2-guard.ts';
import { oneATurn } from './one-a-turn.ts';
import { createReadKeeper } from './read-keeper.ts';
import type { StreamKind } from './metrics.ts';
import { secretDiscoveryService } from './service.ts';
import { stateOfTheWorld } from './state-of-the-world.ts';
import { statusOf } from './status.ts';

/** Unfinished requests in memory; a real Envoy sends about 61 kB on each of its streams at once. */
const MAX_BUFFERED_BYTES = 256 * 1024 * 1024;

export interface SdsServerOptions {
  /** `control_plane.identifier` of every response. */
  readonly controlPlane: string;
  readonly maxMessageBytes: number;
  readonly streamsPerConnection: number;
}

/** The gRPC server of the public socket; it is handed sockets whose peer is known already. */
export interface SdsServer {
  /** Takes over a socket whose `remoteAddress` is the connection's id. */
  serve(socket: Duplex, connection: Connection): void;
  streams(): readonly StreamSnapshot[];
  /** Ends all streams with a reason and closes the connections, by force after the deadline. */
  drain(deadlineMs: number): Promise<void>;
}

type OpenStream = Pick<SecretStream<unknown>, 'snapshot' | 'end'>;

/** A connection and the socket it goes over. */
interface Served {
  readonly connection: Connection;
  readonly socket: Duplex;
}

export function createSdsServer(options: SdsServerOptions, context: SdsContext): SdsServer {
  const { admission } = context;
  // It prints headers it does not like to stderr: those of any peer, as often as the peer wants.
  setLogVerbosity(logVerbosity.NONE);
  const connections = new Map<string, Served>();
  const streams = new Set<OpenStream>();
  const reading = createReadKeeper(context.clock);
  const codec = stateOfTheWorld(options.controlPlane);
  const deltaCodec = delta(options.controlPlane);

  const server = new Server({
    'grpc.max_receive_message_length': options.maxMessageBytes,
    'grpc.max_concurrent_streams': options.streamsPerConnection,
    'grpc.enable_channelz': 0,
  });
  const served = (id: string | undefined) => (id === undefined ? undefined : connections.get(id));

  /** The connection of a call, counted; undefined when the call was refused and has its answer. */
  function admit(
    kind: StreamKind,
    peer: string,
    refuse: (error: IdentityError) => void,
  ): Connection | undefined {
    const known = connections.get(peer);
    if (!known) {
      refuse(new IdentityError('ERR_BUG', 'call on an unknown socket'));
      return undefined;
    }
    const { connection } = known;
    if (context.closing.aborted) {
      refuse(toIdentityError(abortReason(context.closing)));
      return undefined;
    }
    try {
      admission.open(connection.credentials);
      return connection;
    } catch (thrown) {
      const error = toIdentityError(thrown);
      context.metrics.ended(kind, error.code);
      if (admission.insists(connection.credentials)) {
        closeConnection({ served: known, reason: error.message });
      }
      refuse(error);
      return undefined;
    }
  }

  // Not at once: destroyed while its input is worked through it would corrupt the memory. And one by
  // one: the end of a connection is that of up to a thousand streams.
  const closeConnection = oneATurn(({ served, reason }: { served: Served; reason: string }) => {
    const { connection, socket } = served;
    if (socket.destroyed) return;
    const { pid, uid } = connection.credentials;
    context.log.warn({ peer_pid: pid, peer_uid: uid, reason }, 'connection closed');
    admission.blame(connection.credentials);
    socket.destroy();
  });

  function stream<Request>(
    call: ServerDuplexStream<Incoming<Request>, Buffer>,
    codec: Codec<Request>,
  ): void {
    const { kind } = codec;
    const refuse = (error: IdentityError) => void call.emit('error', statusOf(error));
    const connection = admit(kind, call.getPeer(), refuse);
    if (!connection) return;
    context.metrics.opened(kind);
    const opened = new SecretStream(call, connection, codec, context, () => {
      if (!streams.delete(opened)) return;
      admission.close(connection.credentials);
      context.metrics.closed(kind);
    });
    streams.add(opened);
  }

  const handlers = {
    StreamSecrets: (call: ServerDuplexStream<Incoming<DiscoveryRequest>, Buffer>) =>
      stream(call, codec),
    DeltaSecrets: (call: ServerDuplexStream<Incoming<DeltaDiscoveryRequest>, Buffer>) =>
      stream(call, deltaCodec),
    FetchSecrets(
      call: ServerUnaryCall<Incoming<DiscoveryRequest>, Buffer>,
      callback: sendUnaryData<Buffer>,
    ) {
      const connection = admit('fetch', call.getPeer(), (error) => callback(statusOf(error)));
      if (!connection) return;
      void fetchSecrets(call, callback, connection, codec, context).finally(() =>
        admission.close(connection.credentials),
      );
    },
  };
  const limits = { maxNames: context.namesPerStream, maxNameBytes: MAX_ID_BYTES };
  server.addService(secretDiscoveryService(limits), handlers);
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  guardHttp2(server, {
    maxMessageBytes: options.maxMessageBytes,
    maxBufferedBytes: MAX_BUFFERED_BYTES,
    clock: context.clock,
    peerOf: (id) => served(id)?.connection.credentials,
    pauseReading(id, paused) {
      const known = served(id);
      if (known) reading.pause(known.socket, paused);
    },
    closeConnection(id, offence) {
      const known = served(id);
      if (!known) return;
      context.metrics.limited(offence);
      closeConnection({ served: known, reason: OFFENCES[offence] });
    },
  });

  return {
    serve(socket, connection) {
      const { credentials } = connection;
      const { uid, pid } = credentials;
      const reason = admission.enter(credentials);
      if (reason !== undefined) {
        context.log.warn({ peer_pid: pid, peer_uid: uid, reason }, 'connection refused');
        socket.destroy();
        return;
      }
      connections.set(connection.id, { connection, socket });
      socket.once('close', () => {
        connections.delete(connection.id);
        admission.leave(credentials);
      });
      reading.add(socket);
      injector.injectConnection(socket);
    },
    streams: () => [...streams].map((stream) => stream.snapshot()),
    async drain(deadlineMs) {
      for (const stream of [...streams]) {
        stream.end(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      }
      injector.drain(deadlineMs);
      const forced = context.clock.after(deadlineMs, () => server.forceShutdown());
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      forced.cancel();
      reading.close();
    },
  };
}
