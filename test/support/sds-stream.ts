import { Client, credentials, Metadata, type StatusObject } from '@grpc/grpc-js';
import { fromJSON, type ServiceDefinition } from '@grpc/proto-loader';
import descriptors from '../../src/gen/protos.json' with { type: 'json' };

/** One answer on a stream. */
export interface SdsResponse {
  readonly version_info: string;
  readonly nonce: string;
  readonly resources: readonly { readonly type_url: string; readonly value: Buffer }[];
}

/** An open `StreamSecrets` of this process, on a connection of its own. */
export interface SdsStream extends Disposable {
  readonly responses: readonly SdsResponse[];
  /** How it ended, undefined while it is open. */
  ended(): StatusObject | undefined;
}

const SECRET = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
const service = fromJSON(descriptors as Parameters<typeof fromJSON>[0], { keepCase: true })[
  'envoy.service.secret.v3.SecretDiscoveryService'
] as ServiceDefinition;

/** Asks for the names and acknowledges whatever comes. */
export function openSdsStream(socketPath: string, names: readonly string[]): SdsStream {
  const method = service['StreamSecrets'];
  if (!method) throw new Error('the descriptors have no StreamSecrets');
  const client = new Client(`unix:${socketPath}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  const call = client.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    new Metadata({ waitForReady: true }),
  );
  const responses: SdsResponse[] = [];
  let ended: StatusObject | undefined;
  const request = { type_url: SECRET, resource_names: names };
  call.on('data', (response: SdsResponse) => {
    responses.push(response);
    const { version_info, nonce } = response;
    call.write({ ...request, version_info, response_nonce: nonce });
  });
  call.on('status', (status: StatusObject) => (ended = status));
  // The status says it all.
  call.on('error', () => undefined);
  call.write({ ...request, node: { id: 'test', cluster: 'test' } });
  return {
    responses,
    ended: () => ended,
    [Symbol.dispose]() {
      call.cancel();
      client.close();
    },
  };
}
