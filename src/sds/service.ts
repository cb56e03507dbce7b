import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { decodeDiscoveryRequest, type DiscoveryRequest, type RequestLimits } from './messages.ts';

/**
 * A request as a handler gets it. Bytes that are no request, or more than the limits allow, arrive
 * as a value: thrown inside the deserializer the error would end the stream with INTERNAL, which
 * blames the wrong side.
 */
export type IncomingRequest =
  | { readonly kind: 'request'; readonly request: DiscoveryRequest }
  | { readonly kind: 'malformed'; readonly error: IdentityError };

/** `envoy.service.secret.v3.SecretDiscoveryService` for a grpc-js server. */
export interface SecretDiscoveryService extends ServiceDefinition {
  readonly StreamSecrets: MethodDefinition<IncomingRequest, Buffer>;
  /** Nothing of its requests is decoded: the method has no handler yet. */
  readonly DeltaSecrets: MethodDefinition<undefined, Buffer>;
  readonly FetchSecrets: MethodDefinition<IncomingRequest, Buffer>;
}

const PATH = '/envoy.service.secret.v3.SecretDiscoveryService/';

/** The service definition; requests are decoded within `limits`, responses are written as they are. */
export function secretDiscoveryService(limits: RequestLimits): SecretDiscoveryService {
  const decode = (bytes: Buffer): IncomingRequest => receive(bytes, limits);
  return {
    StreamSecrets: method('StreamSecrets', true, decode),
    DeltaSecrets: method('DeltaSecrets', true, () => undefined),
    FetchSecrets: method('FetchSecrets', false, decode),
  };
}

function receive(bytes: Buffer, limits: RequestLimits): IncomingRequest {
  try {
    return { kind: 'request', request: decodeDiscoveryRequest(bytes, limits) };
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
