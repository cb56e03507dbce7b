import type { Duplex } from 'node:stream';
import {
  Server,
  ServerCredentials,
  status,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import { IdentityError } from '../core/errors.ts';
import { MAX_ID_BYTES } from '../identity/spiffe-id.ts';
import { fetchSecrets } from './fetch.ts';
import type { DiscoveryRequest } from './messages.ts';
import {
  SecretStream,
  type Connection,
  type SdsContext,
  type StreamSnapshot,
} from './secret-stream.ts';
import type { Incoming } from './codec.ts';
import { secretDiscoveryService } from './service.ts';
import { stateOfTheWorld } from './state-of-the-world.ts';
import { statusOf } from './status.ts';

export interface SdsServerOptions {
  /** `control_plane.identifier` of every response. */
  readonly controlPlane: string;
  readonly maxMessageBytes: number;
  readonly namesPerStream: number;
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

export function createSdsServer(options: SdsServerOptions, context: SdsContext): SdsServer {
  const connections = new Map<string, Connection>();
  const streams = new Set<SecretStream<DiscoveryRequest>>();
  const codec = stateOfTheWorld(options.controlPlane);

  const server = new Server({
    'grpc.max_receive_message_length': options.maxMessageBytes,
    'grpc.max_concurrent_streams': options.streamsPerConnection,
    'grpc.enable_channelz': 0,
  });
  const handlers = {
    StreamSecrets(call: ServerDuplexStream<Incoming<DiscoveryRequest>, Buffer>) {
      const connection = connections.get(call.getPeer());
      if (!connection) {
        call.emit('error', statusOf(new IdentityError('ERR_BUG', 'stream on an unknown socket')));
        return;
      }
      context.metrics.opened('sotw');
      const stream = new SecretStream(call, connection, codec, context, (ended) => {
        if (streams.delete(ended)) context.metrics.closed('sotw');
      });
      streams.add(stream);
    },
    DeltaSecrets(call: ServerDuplexStream<unknown, Buffer>) {
      call.emit('error', {
        code: status.UNIMPLEMENTED,
        details: 'DeltaSecrets is not served: use api_type GRPC',
      });
    },
    FetchSecrets(
      call: ServerUnaryCall<Incoming<DiscoveryRequest>, Buffer>,
      callback: sendUnaryData<Buffer>,
    ) {
      const connection = connections.get(call.getPeer());
      if (connection) void fetchSecrets(call, callback, connection, codec, context);
      else callback(statusOf(new IdentityError('ERR_BUG', 'call on an unknown socket')));
    },
  };
  const limits = { maxNames: options.namesPerStream, maxNameBytes: MAX_ID_BYTES };
  server.addService(secretDiscoveryService(limits), handlers);
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());

  return {
    serve(socket, connection) {
      connections.set(connection.id, connection);
      socket.once('close', () => connections.delete(connection.id));
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
    },
  };
}
