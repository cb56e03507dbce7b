import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import descriptors from '../gen/protos.json' with { type: 'json' };

/** What the older copy of Envoy's API lacks: name, field number, and the Envoy that brought it. */
const NEWER: readonly (readonly [field: string, number: number, since: string])[] = [
  ['envoy.service.discovery.v3.ResourceError.resource_name', 1, '1.34'],
  ['envoy.service.discovery.v3.ResourceError.error_detail', 2, '1.34'],
  ['envoy.service.discovery.v3.DiscoveryResponse.resource_errors', 7, '1.34'],
  ['envoy.service.discovery.v3.DeltaDiscoveryResponse.resource_errors', 9, '1.34'],
  [`${tls('SPIFFECertValidatorConfig')}.trust_bundles`, 2, '1.34'],
  [`${tls('GenericSecret')}.secrets`, 2, '1.35'],
  [`${tls('SPIFFECertValidatorConfig')}.TrustDomain.workload_trust_domain`, 3, '1.38'],
  [`${tls('CertificateValidationContext')}.suppress_client_ca_list`, 18, '1.39'],
];

function tls(message: string): string {
  return `envoy.extensions.transport_sockets.tls.v3.${message}`;
}

interface FieldFacts {
  readonly number: number;
  readonly type: string;
  readonly label: string;
  readonly oneof: string | undefined;
}

/** Our definitions, out of the generated descriptors. */
function ours(): protobuf.Root {
  const root = protobuf.Root.fromJSON(descriptors as protobuf.INamespace);
  root.resolveAll();
  return root;
}

/** The definitions inside `@grpc/grpc-js-xds`, for the same files. */
function envoys(): protobuf.Root {
  const require = createRequire(import.meta.url);
  const xds = dirname(require.resolve('@grpc/grpc-js-xds/package.json'));
  const folders = [
    join(xds, 'deps/envoy-api'),
    join(xds, 'deps/xds'),
    join(xds, 'deps/googleapis'),
    join(xds, 'deps/protoc-gen-validate'),
    dirname(require.resolve('protobufjs/package.json')),
  ];
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) =>
    folders.map((folder) => join(folder, target)).find((file) => existsSync(file)) ?? target;
  root.loadSync(
    [
      'envoy/service/secret/v3/sds.proto',
      'envoy/extensions/transport_sockets/tls/v3/secret.proto',
      'envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.proto',
    ],
    { keepCase: true },
  );
  root.resolveAll();
  return root;
}

/** Every field of every message, and every method, by full name; what protobufjs brings left out. */
function facts(root: protobuf.Root): Map<string, FieldFacts | string> {
  const found = new Map<string, FieldFacts | string>();
  function visit(object: protobuf.ReflectionObject): void {
    if (object.fullName === '.google.protobuf') return;
    if (object instanceof protobuf.Service) {
      for (const method of object.methodsArray) found.set(nameOf(method), methodFacts(method));
    } else if (object instanceof protobuf.Type) {
      for (const field of object.fieldsArray) found.set(nameOf(field), fieldFacts(field));
    }
    if (object instanceof protobuf.Namespace) object.nestedArray.forEach(visit);
  }
  visit(root);
  return found;
}

function nameOf(object: protobuf.ReflectionObject): string {
  return object.fullName.slice(1);
}

function fieldFacts(field: protobuf.Field): FieldFacts {
  field.resolve();
  const type = field.resolvedType ? nameOf(field.resolvedType) : field.type;
  const map = field instanceof protobuf.MapField;
  return {
    number: field.id,
    type: map ? `map<${field.keyType}, ${type}>` : type,
    label: field.repeated ? 'repeated' : 'single',
    oneof: field.partOf?.name,
  };
}

function methodFacts(method: protobuf.Method): string {
  method.resolve();
  const side = (stream: boolean | undefined, type: protobuf.Type | null): string =>
    `${stream ? 'stream ' : ''}${type ? nameOf(type) : '?'}`;
  const request = side(method.requestStream, method.resolvedRequestType);
  return `(${request}) returns (${side(method.responseStream, method.resolvedResponseType)})`;
}

describe('protos/', () => {
  const mine = facts(ours());
  const reference = facts(envoys());
  const newer = new Map(NEWER.map(([name, number]) => [name, number]));

  it('says of every field and method what Envoy says', () => {
    assert.ok(mine.size > 100, `only ${mine.size} definitions were found`);
    for (const [name, fact] of mine) {
      if (!newer.has(name)) assert.deepEqual(fact, reference.get(name), name);
    }
  });

  it('lists each field that the older copy lacks, with its number, and no other', () => {
    for (const [name, number] of newer) {
      const fact = mine.get(name);
      assert.ok(typeof fact === 'object', `${name} is not in protos/`);
      assert.equal(fact.number, number, name);
      assert.equal(reference.get(name), undefined, `${name} can be compared now: strike it off`);
    }
  });

  it('has nothing but messages and services, the only kinds that are compared here', () => {
    const kinds = new Set<string>();
    const visit = (object: protobuf.ReflectionObject): void => {
      if (object.fullName === '.google.protobuf') return;
      kinds.add(object.constructor.name);
      if (object instanceof protobuf.Namespace) object.nestedArray.forEach(visit);
    };
    visit(ours());
    assert.deepEqual([...kinds].sort(), ['Namespace', 'Root', 'Service', 'Type']);
  });

  it('is what src/gen/protos.json was generated from', () => {
    const script = fileURLToPath(new URL('../../scripts/generate.mjs', import.meta.url));
    const run = spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
  });
});
