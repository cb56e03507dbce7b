import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Incoming } from './codec.ts';
import { decodeDeltaDiscoveryRequest, type DeltaDiscoveryRequest } from './delta-messages.ts';
import { decodeDiscoveryRequest, type DiscoveryRequest, type RequestLimits } from './messages.ts';

/** `envoy.service.secret.v3.SecretDiscoveryService` for a grpc-js server. */
export interface SecretDiscoveryService extends ServiceDefinition {
  readonly StreamSecrets: MethodDefinition<Incoming<DiscoveryRequest>, Buffer>;
  readonly DeltaSecrets: MethodDefinition<Incoming<DeltaDiscoveryRequest>, Buffer>;
  readonly FetchSecrets: MethodDefinition<Incoming<DiscoveryRequest>, Buffer>;
}

const PATH = '/envoy.service.secret.v3.SecretDiscoveryService/';

/** The service definition; requests are decoded within `limits`, responses are written as they are. */
export function secretDiscoveryService(limits: RequestLimits): SecretDiscoveryService {
  const decode = (bytes: Buffer) => receive(() => decodeDiscoveryRequest(bytes, limits));
  return {
    StreamSecrets: method('StreamSecrets', true, decode),
    DeltaSecrets: method('DeltaSecrets', true, (bytes) =>
      receive(() => decodeDeltaDiscoveryRequest(bytes, limits)),
    ),
    FetchSecrets: method('FetchSecrets', false, decode),
  };
}

function receive<Request>(decode: () => Request): Incoming<Request> {
  try {
    return { kind: 'request', request: decode() };
  } catch (thrown) {
    return { kind: 'malformed', error: toIdentityError(thrown) };
  }
}

function method<T>(
  name: string,
  stream: boolean,
  requestDeserialize: (bytes: Buffer) => T,
): MethodDefinition<T, Buffer> {
  return {
    path: PATH + name,
    originalName: name.charAt(0).toLowerCase() + name.slice(1),
    requestStream: stream,
    responseStream: stream,
    requestSerialize: clientSide,
    requestDeserialize,
    responseSerialize: (bytes) => bytes,
    responseDeserialize: clientSide,
  };
}

/** Clients load `src/gen/protos.json`; grpc-js wants both halves of a definition. */
function clientSide(): never {
  throw new IdentityError('ERR_BUG', 'the server side definition of SDS was used by a client');
}
