import type { Duplex } from 'node:stream';
import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from '@grpc/grpc-js';
import { IdentityError } from '../core/errors.ts';
import { MAX_ID_BYTES } from '../identity/spiffe-id.ts';
import { createCallTurns } from './call-turns.ts';
import { Calls, type OpenStream } from './calls.ts';
import { Connections } from './connections.ts';
import type { Connection, SdsContext } from './context.ts';
import { guardHttp2, OFFENCES } from './http2-guard.ts';
import { secretDiscoveryService } from './service.ts';

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
  /** The streams that are open now; it changes while it is gone through. */
  streams(): Iterable<OpenStream>;
  /** Ends all streams with a reason and closes the connections, by force after the deadline. */
  drain(deadlineMs: number): Promise<void>;
}

export function createSdsServer(
  options: SdsServerOptions,
  shared: Omit<SdsContext, 'inTurn'>,
): SdsServer {
  // It prints headers it does not like to stderr: those of any peer, as often as the peer wants.
  setLogVerbosity(logVerbosity.NONE);
  const turns = createCallTurns(shared.clock);
  const context: SdsContext = { ...shared, inTurn: (peer, look) => turns.take(peer, look) };
  const connections = new Connections(context);
  const calls = new Calls(options.controlPlane, connections, context);
  const server = new Server({
    'grpc.max_receive_message_length': options.maxMessageBytes,
    'grpc.max_concurrent_streams': options.streamsPerConnection,
    'grpc.enable_channelz': 0,
  });
  const limits = { maxNames: context.namesPerStream, maxNameBytes: MAX_ID_BYTES };
  server.addService(secretDiscoveryService(limits), calls.handlers());
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  guardHttp2(server, {
    maxMessageBytes: options.maxMessageBytes,
    maxBufferedBytes: MAX_BUFFERED_BYTES,
    streamsPerConnection: options.streamsPerConnection,
    clock: context.clock,
    turns,
    peerOf: (id) => connections.get(id)?.credentials,
    onTooLarge: () => context.metrics.limited('message_bytes'),
    onGreeting: (id) => connections.greeted(id),
    pauseReading: (id, paused) => connections.pauseReading(id, paused),
    closeConnection(id, offence) {
      context.metrics.limited(offence);
      connections.close(id, OFFENCES[offence]);
    },
    onFull({ pid, uid }) {
      const fields = { peer_pid: pid, peer_uid: uid, streams: options.streamsPerConnection };
      context.log.info(fields, 'connection has as many streams as it may');
    },
    onClosed(peer, offence, known) {
      const fields = { peer_pid: peer.pid, peer_uid: peer.uid, reason: OFFENCES[offence] };
      context.metrics.limited(offence);
      context.log.warn(fields, 'connection closed');
      if (known) context.admission.blame(peer);
    },
  });
  return {
    serve(socket, connection) {
      if (connections.add(socket, connection)) injector.injectConnection(socket);
    },
    streams: () => calls.streams(),
    async drain(deadlineMs) {
      calls.end(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
      injector.drain(deadlineMs);
      const forced = context.clock.after(deadlineMs, () => server.forceShutdown());
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      forced.cancel();
      connections.stop();
    },
  };
}
