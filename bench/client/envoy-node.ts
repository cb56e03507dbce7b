import { bytesField, varintField } from './wire.ts';

/** How many extensions Envoy 1.40 lists in its node. */
const EXTENSIONS = 516;

// The categories with the most entries in a stock build; the rest is made of the same kind.
const CATEGORIES = [
  'envoy.filters.http',
  'envoy.filters.network',
  'envoy.access_loggers',
  'envoy.resource_monitors',
  'envoy.matching.http.input',
  'envoy.transport_sockets.downstream',
  'envoy.transport_sockets.upstream',
  'envoy.load_balancing_policies',
  'envoy.formatter',
  'envoy.tls.cert_validator',
  'envoy.http.stateful_header_formatters',
  'envoy.rate_limit_descriptors',
];

/** What a proxy says about itself: `envoy` is as long as Envoy 1.40's (61 kB), `small` names only. */
export type NodeShape = 'envoy' | 'small';

/** An encoded `envoy.config.core.v3.Node`. */
export function encodeNode(shape: NodeShape): Buffer {
  const identity = [bytesField(1, 'sidecar~10.0.0.1~web-0.default'), bytesField(2, 'web')];
  if (shape === 'small') return Buffer.concat(identity);
  return Buffer.concat([
    ...identity,
    bytesField(6, 'envoy'),
    bytesField(8, buildVersion()),
    ...Array.from({ length: EXTENSIONS }, (_, index) => bytesField(9, extension(index))),
  ]);
}

function buildVersion(): Buffer {
  const semantic = Buffer.concat([varintField(1, 1), varintField(2, 40)]);
  const metadata = Buffer.concat([
    metadataEntry('revision.sha', '0123456789abcdef0123456789abcdef01234567'),
    metadataEntry('revision.status', 'Clean'),
    metadataEntry('build.type', 'RELEASE'),
    metadataEntry('ssl.version', 'BoringSSL'),
  ]);
  return Buffer.concat([bytesField(1, semantic), bytesField(2, metadata)]);
}

function metadataEntry(key: string, value: string): Buffer {
  const entry = Buffer.concat([bytesField(1, key), bytesField(2, bytesField(3, value))]);
  return bytesField(1, entry);
}

function extension(index: number): Buffer {
  const category = CATEGORIES[index % CATEGORIES.length] ?? 'envoy.filters.http';
  const name = `extension_${index}`;
  return Buffer.concat([
    bytesField(1, `${category}.${name}`),
    bytesField(2, category),
    bytesField(6, `envoy.extensions.${category.slice(6)}.${name}.v3`),
  ]);
}
