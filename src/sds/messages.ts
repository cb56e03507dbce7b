import { IdentityError } from '../core/errors.ts';
import { type NodeInfo, readNode } from './node-info.ts';
import { SECRET_TYPE_URL } from './secret-messages.ts';
import { fieldSize, WireWriter } from './wire-writer.ts';
import { WireReader } from './wire.ts';

/** What a state-of-the-world request says, as far as anything here depends on it. */
export interface DiscoveryRequest {
  readonly versionInfo: string;
  readonly resourceNames: readonly string[];
  readonly typeUrl: string;
  readonly responseNonce: string;
  /** Present in a NACK, and nowhere else. */
  readonly errorDetail?: ErrorDetail | undefined;
  /** Absent when the proxy sends its node with the first request of a stream only. */
  readonly node?: NodeInfo | undefined;
}

/** Why a proxy refused what it was sent: a gRPC code and Envoy's words, cut to 4 KiB. */
export interface ErrorDetail {
  readonly code: number;
  readonly message: string;
}

/** Bounds on what one request may make the daemon keep. */
export interface RequestLimits {
  readonly maxNames: number;
  readonly maxNameBytes: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Versions and nonces are ours, so short; a type URL that is longer than this is none of SDS's. */
export const MAX_TOKEN_BYTES = 1024;
const MAX_ERROR_TEXT_BYTES = 4096;
const SECRET_TYPE = Buffer.from(SECRET_TYPE_URL);

/**
 * Decodes a `envoy.service.discovery.v3.DiscoveryRequest`, of the node (up to 61 kB with a real
 * Envoy) only what `NodeInfo` holds. Throws `ERR_BAD_REQUEST` when it is malformed, `ERR_LIMIT`
 * when it has too many or too long names.
 */
export function decodeDiscoveryRequest(bytes: Uint8Array, limits: RequestLimits): DiscoveryRequest {
  const r = new WireReader(bytes);
  const names: string[] = [];
  const request: Mutable<DiscoveryRequest> = {
    versionInfo: '',
    resourceNames: names,
    typeUrl: '',
    responseNonce: '',
    errorDetail: undefined,
    node: undefined,
  };
  while (r.next()) {
    switch (r.field) {
      case 1:
        request.versionInfo = r.text('version_info', MAX_TOKEN_BYTES);
        break;
      case 2:
        request.node = readNode(r, request.node);
        break;
      case 3:
        readName(r, names, limits);
        break;
      case 4:
        request.typeUrl = r.text('type_url', MAX_TOKEN_BYTES);
        break;
      case 5:
        request.responseNonce = r.text('response_nonce', MAX_TOKEN_BYTES);
        break;
      case 6:
        request.errorDetail = readErrorDetail(r, request.errorDetail);
        break;
      case 7:
        // Skipped, a request that holds nothing else would read as "everything".
        throw new IdentityError(
          'ERR_BAD_REQUEST',
          'resource_locators are not supported, resource_names are',
        );
    }
  }
  return request;
}

/** Appends the name the reader stands at to `names`, within the limits. */
export function readName(r: WireReader, names: string[], limits: RequestLimits): void {
  if (names.length >= limits.maxNames) {
    throw new IdentityError(
      'ERR_LIMIT',
      `a request has more than ${names.length} resource names, at most ${limits.maxNames} are allowed`,
    );
  }
  names.push(r.text('a resource name', limits.maxNameBytes));
}

/** Reads the `google.rpc.Status` the reader stands at; `earlier` is what it is merged into. */
export function readErrorDetail(r: WireReader, earlier: ErrorDetail | undefined): ErrorDetail {
  let code = earlier?.code ?? 0;
  let message = earlier?.message ?? '';
  const outer = r.enter();
  while (r.next()) {
    if (r.field === 1) code = r.uint32() | 0;
    else if (r.field === 2) message = r.display(MAX_ERROR_TEXT_BYTES);
  }
  r.leave(outer);
  return { code, message };
}

/**
 * A `DiscoveryResponse` around resources of `encodeResource`. `controlPlane` is the identifier of
 * this server.
 */
export function encodeDiscoveryResponse(response: {
  readonly versionInfo: string;
  readonly resources: readonly Uint8Array[];
  readonly nonce: string;
  readonly controlPlane: string;
}): Buffer {
  const { versionInfo, resources, nonce, controlPlane } = response;
  const versionBytes = Buffer.byteLength(versionInfo);
  const nonceBytes = Buffer.byteLength(nonce);
  const identifierBytes = Buffer.byteLength(controlPlane);
  const identifier = fieldSize(identifierBytes);
  let size =
    fieldSize(versionBytes) +
    fieldSize(SECRET_TYPE.byteLength) +
    fieldSize(nonceBytes) +
    fieldSize(identifier);
  for (const resource of resources) size += resource.byteLength;
  // From the pool, for it lives until grpc-js has copied it into a frame, which is at once.
  const w = new WireWriter(Buffer.allocUnsafe(size)).text(1, versionInfo, versionBytes);
  for (const resource of resources) w.raw(resource);
  return w
    .bytes(4, SECRET_TYPE)
    .text(5, nonce, nonceBytes)
    .open(6, identifier)
    .text(1, controlPlane, identifierBytes)
    .done();
}
