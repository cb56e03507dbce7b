import { bytesField, eachBytesField } from './wire.ts';

/** The type URL of every SDS request and resource. */
export const SECRET_TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
/** The gRPC method of a state-of-the-world SDS stream. */
export const STREAM_SECRETS = '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets';

/** Frames an encoded message for gRPC: not compressed, length in front. */
export function grpcMessage(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(5 + message.length);
  framed[0] = 0;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, 5);
  return framed;
}

/** The first request of a stream: the node, one name, no version, no nonce. */
export function firstRequest(name: string, node: Uint8Array): Buffer {
  return grpcMessage(
    Buffer.concat([bytesField(2, node), bytesField(3, name), bytesField(4, SECRET_TYPE)]),
  );
}

/** The parts of an acknowledgement that never change on one stream; `node` only without node-once. */
export function ackTail(name: string, node?: Uint8Array): Buffer {
  return Buffer.concat([
    ...(node ? [bytesField(2, node)] : []),
    bytesField(3, name),
    bytesField(4, SECRET_TYPE),
  ]);
}

/** Bounds of version and nonce inside a response, and what its resources are called. */
export interface Response {
  readonly version: Uint8Array;
  readonly nonce: Uint8Array;
  /** Bounds of each `Any` in the buffer that was parsed; looked into by `describeSecret`. */
  readonly resources: readonly (readonly [number, number])[];
}

const EMPTY: Uint8Array = new Uint8Array(0);

/** Reads a `DiscoveryResponse` in `buffer[start, end)` without copying. */
export function parseResponse(buffer: Uint8Array, start: number, end: number): Response {
  let version = EMPTY;
  let nonce = EMPTY;
  const resources: [number, number][] = [];
  eachBytesField(buffer, start, end, (number, from, to) => {
    if (number === 1) version = buffer.subarray(from, to);
    else if (number === 2) resources.push([from, to]);
    else if (number === 5) nonce = buffer.subarray(from, to);
  });
  return { version, nonce, resources };
}

/** What kind of secret a resource carries. */
export type SecretKind = 'certificate' | 'validation context' | 'other';

/** Name and kind of the `Secret` in an `Any`; an empty secret is `other`. */
export function describeSecret(
  buffer: Uint8Array,
  [start, end]: readonly [number, number],
): { name: string; kind: SecretKind } {
  let name = '';
  let kind: SecretKind = 'other';
  eachBytesField(buffer, start, end, (anyNumber, anyFrom, anyTo) => {
    if (anyNumber !== 2) return;
    eachBytesField(buffer, anyFrom, anyTo, (number, from, to) => {
      if (number === 1) name = Buffer.from(buffer.subarray(from, to)).toString();
      else if (to - from < MIN_SECRET) return;
      else if (number === 2) kind = 'certificate';
      else if (number === 4) kind = 'validation context';
    });
  });
  return { name, kind };
}

/** No certificate, key or root fits in fewer bytes: less is a placeholder. */
const MIN_SECRET = 200;
