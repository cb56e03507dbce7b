import { IdentityError } from '../core/errors.ts';
import { type NodeInfo, readNode } from './node-info.ts';
import { fieldSize, WireReader, WireWriter } from './wire.ts';

export type { NodeInfo };

/** Type URL of the one resource of SDS. */
export const SECRET_TYPE_URL =
  'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';

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

/** Roots of one trust domain for Envoy's SPIFFE validator. */
export interface SpiffeBundle {
  /** Bare name, without scheme. */
  readonly trustDomain: string;
  readonly rootsPem: Uint8Array;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Versions and nonces are ours, so short; a type URL that is longer than this is none of SDS's. */
const MAX_TOKEN_BYTES = 1024;
const MAX_ERROR_TEXT_BYTES = 4096;

const SECRET_TYPE = Buffer.from(SECRET_TYPE_URL);
const SPIFFE_VALIDATOR = Buffer.from('envoy.tls.cert_validator.spiffe');
const SPIFFE_VALIDATOR_TYPE = Buffer.from(
  'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig',
);

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

/** A `Secret` with `tls_certificate`, both parts inline. Throws `ERR_BUG` if a part is empty. */
export function encodeCertificateSecret(
  name: string,
  parts: { readonly chainPem: Uint8Array; readonly keyPem: Uint8Array },
): Buffer {
  const { chainPem, keyPem } = parts;
  refuseEmpty('name', name.length);
  refuseEmpty('certificate chain', chainPem.byteLength);
  refuseEmpty('private key', keyPem.byteLength);
  const nameBytes = Buffer.byteLength(name);
  const chain = fieldSize(chainPem.byteLength);
  const key = fieldSize(keyPem.byteLength);
  const certificate = fieldSize(chain) + fieldSize(key);
  return writer(fieldSize(nameBytes) + fieldSize(certificate))
    .text(1, name, nameBytes)
    .open(2, certificate)
    .open(1, chain)
    .bytes(2, chainPem)
    .open(2, key)
    .bytes(2, keyPem)
    .done();
}

/** A `Secret` with `validation_context.trusted_ca`. Throws `ERR_BUG` if there are no roots. */
export function encodePlainBundleSecret(name: string, rootsPem: Uint8Array): Buffer {
  refuseEmpty('name', name.length);
  refuseEmpty('roots', rootsPem.byteLength);
  const nameBytes = Buffer.byteLength(name);
  const source = fieldSize(rootsPem.byteLength);
  const context = fieldSize(source);
  return writer(fieldSize(nameBytes) + fieldSize(context))
    .text(1, name, nameBytes)
    .open(4, context)
    .open(1, source)
    .bytes(2, rootsPem)
    .done();
}

/**
 * A `Secret` with a validation context for Envoy's SPIFFE validator, which keeps trust domains
 * apart. Throws `ERR_BUG` if there is no domain, a domain without roots, or a domain twice.
 */
export function encodeSpiffeBundleSecret(name: string, bundles: readonly SpiffeBundle[]): Buffer {
  refuseEmpty('name', name.length);
  refuseEmpty('list of trust domains', bundles.length);
  let config = 0;
  const seen = new Set<string>();
  const domains = bundles.map(({ trustDomain, rootsPem }) => {
    refuseEmpty('trust domain', trustDomain.length);
    refuseEmpty(`roots of ${trustDomain}`, rootsPem.byteLength);
    if (seen.has(trustDomain)) throw new IdentityError('ERR_BUG', `${trustDomain} twice`);
    seen.add(trustDomain);
    const nameBytes = Buffer.byteLength(trustDomain);
    const source = fieldSize(rootsPem.byteLength);
    const size = fieldSize(nameBytes) + fieldSize(source);
    config += fieldSize(size);
    return { trustDomain, rootsPem, nameBytes, source, size };
  });
  const nameBytes = Buffer.byteLength(name);
  const any = fieldSize(SPIFFE_VALIDATOR_TYPE.byteLength) + fieldSize(config);
  const extension = fieldSize(SPIFFE_VALIDATOR.byteLength) + fieldSize(any);
  const context = fieldSize(extension);
  const w = writer(fieldSize(nameBytes) + fieldSize(context))
    .text(1, name, nameBytes)
    .open(4, context)
    .open(12, extension)
    .bytes(1, SPIFFE_VALIDATOR)
    .open(2, any)
    .bytes(1, SPIFFE_VALIDATOR_TYPE)
    .open(2, config);
  for (const { trustDomain, rootsPem, nameBytes: size, source, size: domain } of domains) {
    w.open(1, domain).text(1, trustDomain, size).open(2, source).bytes(2, rootsPem);
  }
  return w.done();
}

/** A secret as the `resources` field of a response, made once and shared by all streams. */
export function encodeResource(secret: Uint8Array): Buffer {
  refuseEmpty('secret', secret.byteLength);
  const any = fieldSize(SECRET_TYPE.byteLength) + fieldSize(secret.byteLength);
  return writer(fieldSize(any)).open(2, any).bytes(1, SECRET_TYPE).bytes(2, secret).done();
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

/**
 * A writer for what lives long, so not on Node's shared pool, which the longest-lived slice keeps
 * whole. `done` makes sure that no byte is left unwritten.
 */
function writer(size: number): WireWriter {
  return new WireWriter(Buffer.allocUnsafeSlow(size));
}

/** An empty secret is acknowledged by Envoy and switches verification off, so it must not exist. */
function refuseEmpty(what: string, size: number): void {
  if (size === 0) throw new IdentityError('ERR_BUG', `a secret with an empty ${what}`);
}
