import protobuf from 'protobufjs';
import descriptors from '../../src/gen/protos.json' with { type: 'json' };

// protobufjs, loaded with protos/, is the second opinion on what Credence writes and reads.
const root = protobuf.Root.fromJSON(descriptors as protobuf.INamespace);
const TLS = 'envoy.extensions.transport_sockets.tls.v3';
export const SECRET_TYPE = `type.googleapis.com/${TLS}.Secret`;
const RequestType = root.lookupType('envoy.service.discovery.v3.DiscoveryRequest');
const ResponseType = root.lookupType('envoy.service.discovery.v3.DiscoveryResponse');
const SecretType = root.lookupType(`${TLS}.Secret`);
const ValidatorType = root.lookupType(`${TLS}.SPIFFECertValidatorConfig`);

/** A secret as a proxy understands it. */
export type DecodedSecret =
  | { readonly kind: 'certificate'; name: string; chain: string; key: string }
  | { readonly kind: 'plain bundle'; name: string; roots: string; readonly crls?: string }
  | {
      readonly kind: 'spiffe bundle';
      readonly name: string;
      readonly domains: Readonly<Record<string, string>>;
      /** The text of `trust_bundles`, for a proxy that knows them. */
      readonly jwks?: string;
    }
  | { readonly kind: 'empty'; name: string };

/** A response as a proxy understands it. */
export interface DecodedResponse {
  readonly version: string;
  readonly nonce: string;
  readonly typeUrl: string;
  readonly controlPlane: string;
  readonly secrets: readonly DecodedSecret[];
}

interface DataSource {
  readonly inline_bytes?: Uint8Array;
}

interface SecretMessage {
  readonly name: string;
  readonly tls_certificate?: { certificate_chain?: DataSource; private_key?: DataSource };
  readonly validation_context?: {
    readonly trusted_ca?: DataSource;
    readonly crl?: DataSource;
    readonly custom_validator_config?: { typed_config?: { value: Uint8Array } };
  };
}

interface ResponseMessage {
  readonly version_info: string;
  readonly nonce: string;
  readonly type_url: string;
  readonly control_plane?: { identifier: string };
  readonly resources: readonly { type_url: string; value: Uint8Array }[];
}

interface ValidatorMessage {
  readonly trust_domains: readonly { name: string; trust_bundle?: DataSource }[];
  readonly trust_bundles?: DataSource;
}

const inline = (source: DataSource | undefined): string =>
  Buffer.from(source?.inline_bytes ?? []).toString('latin1');

function read(type: protobuf.Type, bytes: Uint8Array): unknown {
  return type.decode(bytes);
}

/** A `DiscoveryRequest` in the field names of the protocol. */
export function encodeRequest(request: object): Buffer {
  return Buffer.from(RequestType.encode(RequestType.fromObject(request)).finish());
}

export function decodeResponse(bytes: Uint8Array): DecodedResponse {
  const message = read(ResponseType, bytes) as ResponseMessage;
  for (const { type_url } of message.resources) {
    if (type_url !== SECRET_TYPE) throw new Error(`a resource of type ${type_url}`);
  }
  return {
    version: message.version_info,
    nonce: message.nonce,
    typeUrl: message.type_url,
    controlPlane: message.control_plane?.identifier ?? '',
    secrets: message.resources.map(({ value }) => decodeSecret(value)),
  };
}

/** The one secret in bytes of `encodeResource`. */
export function decodeResource(resource: Uint8Array): DecodedSecret {
  const [secret] = decodeResponse(resource).secrets;
  if (!secret) throw new Error('no resource');
  return secret;
}

export function decodeSecret(bytes: Uint8Array): DecodedSecret {
  const {
    name,
    tls_certificate: tls,
    validation_context: context,
  } = read(SecretType, bytes) as SecretMessage;
  const chain = inline(tls?.certificate_chain);
  const key = inline(tls?.private_key);
  if (chain && key) return { kind: 'certificate', name, chain, key };
  const roots = inline(context?.trusted_ca);
  const crls = inline(context?.crl);
  if (roots) return { kind: 'plain bundle', name, roots, ...(crls && { crls }) };
  const typed = context?.custom_validator_config?.typed_config;
  if (!typed) return { kind: 'empty', name };
  const { trust_domains, trust_bundles } = read(ValidatorType, typed.value) as ValidatorMessage;
  const byName = trust_domains.map((d) => [d.name, inline(d.trust_bundle)] as const);
  const jwks = inline(trust_bundles);
  return {
    kind: 'spiffe bundle',
    name,
    domains: Object.fromEntries(byName),
    ...(jwks && { jwks }),
  };
}
