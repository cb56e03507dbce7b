import { IdentityError } from '../core/errors.ts';
import {
  MAX_TOKEN_BYTES,
  readErrorDetail,
  readName,
  type ErrorDetail,
  type RequestLimits,
} from './messages.ts';
import { type NodeInfo, readNode } from './node-info.ts';
import type { Secret } from './resources.ts';
import { SECRET_TYPE_URL } from './secret-messages.ts';
import { fieldSize, WireWriter } from './wire-writer.ts';
import { WireReader } from './wire.ts';

/** What an incremental request says, as far as anything here depends on it. */
export interface DeltaDiscoveryRequest {
  readonly typeUrl: string;
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  readonly responseNonce: string;
  /** Present in a NACK, and nowhere else. */
  readonly errorDetail?: ErrorDetail | undefined;
  /** Absent when the proxy sends its node with the first request of a stream only. */
  readonly node?: NodeInfo | undefined;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const SECRET_TYPE = Buffer.from(SECRET_TYPE_URL);

/**
 * Decodes a `envoy.service.discovery.v3.DeltaDiscoveryRequest`. `initial_resource_versions` are
 * skipped: after a refused push or a removal they name what the proxy does not serve, so they prove
 * nothing, and every name that is subscribed is answered anyway. Throws as `decodeDiscoveryRequest`
 * does. Each list may have as many names as a stream: a proxy that watches all it may can exchange
 * them in one message. Names that are unsubscribed are kept nowhere, and what is watched after the
 * message is bounded by the stream.
 */
export function decodeDeltaDiscoveryRequest(
  bytes: Uint8Array,
  limits: RequestLimits,
): DeltaDiscoveryRequest {
  const r = new WireReader(bytes);
  const subscribe: string[] = [];
  const unsubscribe: string[] = [];
  const request: Mutable<DeltaDiscoveryRequest> = {
    typeUrl: '',
    subscribe,
    unsubscribe,
    responseNonce: '',
    errorDetail: undefined,
    node: undefined,
  };
  while (r.next()) {
    switch (r.field) {
      case 1:
        request.node = readNode(r, request.node);
        break;
      case 2:
        request.typeUrl = r.text('type_url', MAX_TOKEN_BYTES);
        break;
      case 3:
        readName(r, subscribe, limits);
        break;
      case 4:
        readName(r, unsubscribe, limits);
        break;
      case 6:
        request.responseNonce = r.text('response_nonce', MAX_TOKEN_BYTES);
        break;
      case 7:
        request.errorDetail = readErrorDetail(r, request.errorDetail);
        break;
      case 8:
      case 9:
        // Skipped, a request that holds nothing else would read as "everything".
        throw new IdentityError(
          'ERR_BAD_REQUEST',
          'resource locators are not supported, resource names are',
        );
    }
  }
  return request;
}

/** A `DeltaDiscoveryResponse`; each secret with its own version, and the names that are no more. */
export function encodeDeltaDiscoveryResponse(response: {
  readonly systemVersion: string;
  readonly secrets: readonly Secret[];
  readonly removed: readonly string[];
  readonly nonce: string;
  readonly controlPlane: string;
}): Buffer {
  const { systemVersion, secrets, removed, nonce, controlPlane } = response;
  const identifierBytes = Buffer.byteLength(controlPlane);
  const identifier = fieldSize(identifierBytes);
  const resources = secrets.map(({ name, version, resource }) => {
    const nameBytes = Buffer.byteLength(name);
    const versionBytes = Buffer.byteLength(version);
    const size = fieldSize(versionBytes) + resource.byteLength + fieldSize(nameBytes);
    return { name, version, resource, nameBytes, versionBytes, size };
  });
  const removals = removed.map((name) => ({ name, bytes: Buffer.byteLength(name) }));
  const versionBytes = Buffer.byteLength(systemVersion);
  const nonceBytes = Buffer.byteLength(nonce);
  let size =
    fieldSize(versionBytes) +
    fieldSize(SECRET_TYPE.byteLength) +
    fieldSize(nonceBytes) +
    fieldSize(identifier);
  for (const resource of resources) size += fieldSize(resource.size);
  for (const { bytes } of removals) size += fieldSize(bytes);
  const w = new WireWriter(Buffer.allocUnsafe(size)).text(1, systemVersion, versionBytes);
  for (const resource of resources) {
    // The secret stands in field 2 of a `Resource` as it does in a state-of-the-world response.
    w.open(2, resource.size)
      .text(1, resource.version, resource.versionBytes)
      .raw(resource.resource)
      .text(3, resource.name, resource.nameBytes);
  }
  w.bytes(4, SECRET_TYPE).text(5, nonce, nonceBytes);
  for (const { name, bytes } of removals) w.text(6, name, bytes);
  return w.open(7, identifier).text(1, controlPlane, identifierBytes).done();
}
