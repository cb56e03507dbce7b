import protobuf from 'protobufjs';
import descriptors from '../../src/gen/protos.json' with { type: 'json' };
import { decodeDiscoveryRequest, type DiscoveryRequest } from '../../src/sds/messages.ts';
import { SECRET_TYPE_URL } from '../../src/sds/secret-messages.ts';

// protobufjs, loaded with protos/, is the second opinion in both directions.
const root = protobuf.Root.fromJSON(descriptors as protobuf.INamespace);
export const Request = root.lookupType('envoy.service.discovery.v3.DiscoveryRequest');
export const Response = root.lookupType('envoy.service.discovery.v3.DiscoveryResponse');
export const Node = root.lookupType('envoy.config.core.v3.Node');

/** What `decode` allows unless told otherwise. */
export const LIMITS = { maxNames: 50, maxNameBytes: 256 };
/** The key in a node's metadata that asks for plain bundles. */
export const SWITCH = 'disable_spiffe_cert_validation';

/** What protobufjs writes. */
export function encode(type: protobuf.Type, value: object): Uint8Array {
  return type.encode(type.fromObject(value)).finish();
}

/** What the daemon reads. */
export function decode(bytes: Uint8Array, limits = LIMITS): DiscoveryRequest {
  return decodeDiscoveryRequest(bytes, limits);
}

/** A field as the wire has it, for what no encoder would write. */
export function field(number: number, wireType: number, ...content: number[]): Uint8Array {
  const header = protobuf.Writer.create()
    .uint32(((number << 3) | wireType) >>> 0)
    .finish();
  return Buffer.concat([header, Uint8Array.from(content)]);
}

/** A field with a message, a text or bytes in it. */
export function embedded(number: number, content: Uint8Array): Uint8Array {
  return protobuf.Writer.create()
    .uint32((number << 3) | 2)
    .bytes(content)
    .finish();
}

/** The first request of an Envoy 1.40: 516 extensions, about 60 kB. */
export function envoyRequest(): object {
  return {
    node: {
      id: 'sidecar~10.0.0.7~web-0.default',
      cluster: 'web.default',
      metadata: { fields: { [SWITCH]: { boolValue: true }, MESH: { stringValue: 'a' } } },
      user_agent_name: 'envoy',
      user_agent_build_version: {
        version: { major_number: 1, minor_number: 40, patch: 2 },
        metadata: { fields: { 'ssl.version': { stringValue: 'BoringSSL' } } },
      },
      extensions: Array.from({ length: 516 }, (_, i) => ({
        name: `envoy.filters.http.extension_number_${i}`,
        category: 'envoy.filters.http',
        type_urls: [`envoy.extensions.filters.http.extension_number_${i}.v3.Config`],
      })),
      client_features: ['envoy.lb.does_not_support_overprovisioning'],
    },
    resource_names: ['spiffe://example.org/web'],
    type_url: SECRET_TYPE_URL,
  };
}

/** The error of what is no request. */
export const malformed = { name: 'IdentityError', code: 'ERR_BAD_REQUEST' };
