import { bytesField, eachBytesField } from './wire.ts';

/** The type URL of every SDS request and resource. */
export const SECRET_TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
const SERVICE = '/envoy.service.secret.v3.SecretDiscoveryService';

/** The two ways to ask for secrets on a stream that stays open. */
export type Variant = 'state of the world' | 'delta';

/** How one variant speaks. */
export interface Dialect {
  /** Path of the gRPC method. */
  readonly method: string;
  /** The first request of a stream: the node, one name, no version, no nonce. */
  firstRequest(name: string, node: Uint8Array): Buffer;
  /** The parts of an acknowledgement that never change; `node` only without node-once. */
  ackTail(name: string, node?: Uint8Array): Buffer;
  /** The acknowledgement of `response`. */
  acknowledge(response: Response, tail: Uint8Array): Buffer;
  /**
   * Reads a response in `buffer[start, end)` without copying. Throws on what is not Protobuf, and
   * on the removal of a secret, which no figure expects.
   */
  parseResponse(buffer: Uint8Array, start: number, end: number): Response;
}

/** Frames an encoded message for gRPC: not compressed, length in front. */
export function grpcMessage(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(5 + message.length);
  framed[0] = 0;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, 5);
  return framed;
}

/** What a response says, as views of the buffer that was parsed. */
export interface Response {
  /** Empty over Delta, where each resource has its own and no acknowledgement repeats it. */
  readonly version: Uint8Array;
  readonly nonce: Uint8Array;
  /** Bounds of each `Any` in the buffer that was parsed; looked into by `describeSecret`. */
  readonly resources: readonly (readonly [number, number])[];
}

const EMPTY: Uint8Array = new Uint8Array(0);

/** `DiscoveryRequest` and `DiscoveryResponse`: each acknowledgement repeats what is asked for. */
const stateOfTheWorld: Dialect = {
  method: `${SERVICE}/StreamSecrets`,
  firstRequest: (name, node) =>
    grpcMessage(
      Buffer.concat([bytesField(2, node), bytesField(3, name), bytesField(4, SECRET_TYPE)]),
    ),
  ackTail: (name, node) =>
    Buffer.concat([
      ...(node ? [bytesField(2, node)] : []),
      bytesField(3, name),
      bytesField(4, SECRET_TYPE),
    ]),
  acknowledge: ({ version, nonce }, tail) =>
    grpcMessage(Buffer.concat([bytesField(1, version), tail, bytesField(5, nonce)])),
  parseResponse(buffer, start, end) {
    let version = EMPTY;
    let nonce = EMPTY;
    const resources: [number, number][] = [];
    eachBytesField(buffer, start, end, (number, from, to) => {
      if (number === 1) version = buffer.subarray(from, to);
      else if (number === 2) resources.push([from, to]);
      else if (number === 5) nonce = buffer.subarray(from, to);
    });
    return { version, nonce, resources };
  },
};

/** `DeltaDiscoveryRequest` and `DeltaDiscoveryResponse`: an acknowledgement has only the nonce. */
const delta: Dialect = {
  method: `${SERVICE}/DeltaSecrets`,
  firstRequest: (name, node) =>
    grpcMessage(
      Buffer.concat([bytesField(1, node), bytesField(2, SECRET_TYPE), bytesField(3, name)]),
    ),
  ackTail: (_name, node) =>
    Buffer.concat([...(node ? [bytesField(1, node)] : []), bytesField(2, SECRET_TYPE)]),
  acknowledge: ({ nonce }, tail) => grpcMessage(Buffer.concat([tail, bytesField(6, nonce)])),
  parseResponse(buffer, start, end) {
    let nonce = EMPTY;
    const resources: [number, number][] = [];
    eachBytesField(buffer, start, end, (number, from, to) => {
      if (number === 5) nonce = buffer.subarray(from, to);
      else if (number === 6) {
        throw new Error(`${Buffer.from(buffer.subarray(from, to)).toString()} was removed`);
      } else if (number === 2) {
        // The `Any` is a field of a `Resource`, which also has the name and the version.
        eachBytesField(buffer, from, to, (inner, anyFrom, anyTo) => {
          if (inner === 2) resources.push([anyFrom, anyTo]);
        });
      }
    });
    return { version: EMPTY, nonce, resources };
  },
};

/** Both variants by name. */
export const DIALECTS: Readonly<Record<Variant, Dialect>> = {
  'state of the world': stateOfTheWorld,
  delta,
};

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
