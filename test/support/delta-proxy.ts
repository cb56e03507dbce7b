import * as grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import descriptors from '../../src/gen/protos.json' with { type: 'json' };
import type { Ending } from './sds-proxy.ts';
import { decodeSecret, SECRET_TYPE, type DecodedSecret } from './secrets.ts';

const METHOD = '/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets';
const root = protobuf.Root.fromJSON(descriptors as protobuf.INamespace);
const RequestType = root.lookupType('envoy.service.discovery.v3.DeltaDiscoveryRequest');
const ResponseType = root.lookupType('envoy.service.discovery.v3.DeltaDiscoveryResponse');

export interface DeltaRequestFields {
  readonly subscribe?: readonly string[];
  readonly unsubscribe?: readonly string[];
  readonly nonce?: string;
  readonly error?: string;
  readonly initial?: Readonly<Record<string, string>>;
  readonly node?: object;
  /** The right one unless told. */
  readonly typeUrl?: string;
}

/** One resource of a response, with the secret in it. */
export interface DeltaResource {
  readonly name: string;
  readonly version: string;
  readonly secret: DecodedSecret;
}

export interface DeltaResponse {
  readonly nonce: string;
  readonly systemVersion: string;
  readonly typeUrl: string;
  readonly controlPlane: string;
  readonly resources: readonly DeltaResource[];
  readonly removed: readonly string[];
}

/** A `DeltaDiscoveryRequest`. */
export function encodeDeltaRequest(fields: DeltaRequestFields): Buffer {
  const message = RequestType.fromObject({
    node: fields.node,
    type_url: fields.typeUrl ?? SECRET_TYPE,
    resource_names_subscribe: fields.subscribe,
    resource_names_unsubscribe: fields.unsubscribe,
    initial_resource_versions: fields.initial,
    response_nonce: fields.nonce,
    error_detail: fields.error === undefined ? undefined : { code: 13, message: fields.error },
  });
  return Buffer.from(RequestType.encode(message).finish());
}

interface ResponseMessage {
  readonly nonce: string;
  readonly system_version_info: string;
  readonly type_url: string;
  readonly control_plane?: { identifier: string };
  readonly resources: readonly {
    readonly name: string;
    readonly version: string;
    readonly resource?: { type_url: string; value: Uint8Array };
  }[];
  readonly removed_resources: readonly string[];
}

export function decodeDeltaResponse(bytes: Uint8Array): DeltaResponse {
  const decoded: unknown = ResponseType.decode(bytes);
  const message = decoded as ResponseMessage;
  return {
    nonce: message.nonce,
    systemVersion: message.system_version_info,
    typeUrl: message.type_url,
    controlPlane: message.control_plane?.identifier ?? '',
    resources: message.resources.map(({ name, version, resource }) => {
      if (resource?.type_url !== SECRET_TYPE) throw new Error(`${name} is no secret`);
      return { name, version, secret: decodeSecret(resource.value) };
    }),
    removed: message.removed_resources,
  };
}

/** A `DeltaSecrets` stream as a proxy holds it. */
export interface DeltaStream {
  readonly responses: readonly DeltaResponse[];
  send(request: DeltaRequestFields): void;
  /** Whatever bytes in the place of a request. */
  sendBytes(bytes: Uint8Array): void;
  /** Acknowledges the newest response, and changes names in the same message. */
  ack(more?: DeltaRequestFields): void;
  nack(text: string): void;
  /** The response after those that `next` gave before; rejects when the stream ends instead. */
  next(): Promise<DeltaResponse>;
  ending(): Promise<Ending>;
  cancel(): void;
}

export interface DeltaProxy extends Disposable {
  stream(metadata?: Readonly<Record<string, string>>): DeltaStream;
}

/** A proxy with one connection of its own that speaks the incremental protocol. */
export function connectDeltaProxy(socketPath: string): DeltaProxy {
  const client = new grpc.Client(`unix:${socketPath}`, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  const calls: grpc.ClientDuplexStream<Buffer, Buffer>[] = [];
  const asIs = (bytes: Buffer): Buffer => bytes;
  return {
    stream(metadata = {}) {
      const headers = new grpc.Metadata();
      for (const [key, value] of Object.entries(metadata)) headers.set(key, value);
      const call = client.makeBidiStreamRequest(METHOD, asIs, asIs, headers);
      calls.push(call);
      return deltaStream(call);
    },
    [Symbol.dispose]() {
      for (const call of calls) call.cancel();
      client.close();
    },
  };
}

function deltaStream(call: grpc.ClientDuplexStream<Buffer, Buffer>): DeltaStream {
  const responses: DeltaResponse[] = [];
  let taken = 0;
  let ended: Ending | undefined;
  let stir = withResolvers();
  const wake = () => {
    stir.resolve(undefined);
    stir = withResolvers();
  };
  call.on('error', () => undefined);
  call.on('data', (bytes: Buffer) => {
    responses.push(decodeDeltaResponse(bytes));
    wake();
  });
  call.on('status', ({ code, details }: grpc.StatusObject) => {
    ended = { code: grpc.status[code], details };
    wake();
  });
  const send = (request: DeltaRequestFields) => void call.write(encodeDeltaRequest(request));
  const nonce = () => responses.at(-1)?.nonce ?? '';
  return {
    responses,
    send,
    sendBytes: (bytes) => void call.write(Buffer.from(bytes)),
    cancel: () => call.cancel(),
    ack: (more = {}) => send({ nonce: nonce(), ...more }),
    nack: (text) => send({ nonce: nonce(), error: text }),
    async next() {
      while (responses.length <= taken && !ended) await stir.promise;
      const response = responses[taken++];
      if (response) return response;
      throw new Error(`the stream ended: ${ended?.code ?? ''} ${ended?.details ?? ''}`);
    },
    async ending() {
      while (!ended) await stir.promise;
      return ended;
    },
  };
}

/** `Promise.withResolvers`, which Node 20 has not. */
function withResolvers() {
  let resolve: (value: unknown) => void = () => undefined;
  const promise = new Promise<unknown>((done) => (resolve = done));
  return { promise, resolve };
}
