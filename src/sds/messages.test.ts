import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { IdentityError } from '../core/errors.ts';
import descriptors from '../gen/protos.json' with { type: 'json' };
import {
  decodeDiscoveryRequest,
  type DiscoveryRequest,
  encodeDiscoveryResponse,
} from './messages.ts';
import { encodeResource, SECRET_TYPE_URL } from './secret-messages.ts';

// protobufjs, loaded with protos/, is the second opinion in both directions.
const root = protobuf.Root.fromJSON(descriptors as protobuf.INamespace);
const Request = root.lookupType('envoy.service.discovery.v3.DiscoveryRequest');
const Response = root.lookupType('envoy.service.discovery.v3.DiscoveryResponse');
const Node = root.lookupType('envoy.config.core.v3.Node');

const LIMITS = { maxNames: 50, maxNameBytes: 256 };
const SWITCH = 'disable_spiffe_cert_validation';

function encode(type: protobuf.Type, value: object): Uint8Array {
  return type.encode(type.fromObject(value)).finish();
}

function decode(bytes: Uint8Array, limits = LIMITS): DiscoveryRequest {
  return decodeDiscoveryRequest(bytes, limits);
}

/** A field as the wire has it, for what no encoder would write. */
function field(number: number, wireType: number, ...content: number[]): Uint8Array {
  const header = protobuf.Writer.create()
    .uint32(((number << 3) | wireType) >>> 0)
    .finish();
  return Buffer.concat([header, Uint8Array.from(content)]);
}

function embedded(number: number, content: Uint8Array): Uint8Array {
  return protobuf.Writer.create()
    .uint32((number << 3) | 2)
    .bytes(content)
    .finish();
}

function metadata(value: object): object {
  return { node: { metadata: { fields: { [SWITCH]: value } } } };
}

const text = fc.string({ unit: 'binary', maxLength: 40 });

/** `google.protobuf.Value` of any kind, nested; its field names are those of protobufjs. */
const { value } = fc.letrec<{ value: object }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constant({ nullValue: 'NULL_VALUE' }),
    fc.double().map((numberValue) => ({ numberValue })),
    text.map((stringValue) => ({ stringValue })),
    fc.boolean().map((boolValue) => ({ boolValue })),
    fc
      .dictionary(text, tie('value'), { maxKeys: 3 })
      .map((fields) => ({ structValue: { fields } })),
    fc.array(tie('value'), { maxLength: 3 }).map((values) => ({ listValue: { values } })),
  ),
}));

const uint32 = fc.nat({ max: 0xffff_ffff });
const semanticVersion = fc.record({ major_number: uint32, minor_number: uint32, patch: uint32 });

const node = fc.record(
  {
    id: text,
    cluster: text,
    metadata: fc.record({
      fields: fc
        .tuple(
          fc.dictionary(text, value, { maxKeys: 4 }),
          fc.option(fc.boolean(), { nil: undefined }),
        )
        .map(([fields, flag]) =>
          flag === undefined ? fields : { ...fields, [SWITCH]: { boolValue: flag } },
        ),
    }),
    locality: fc.record({ region: text, zone: text }),
    user_agent_name: text,
    user_agent_build_version: fc.record({ version: semanticVersion }),
    extensions: fc.array(fc.record({ name: text, category: text, type_urls: fc.array(text) })),
    client_features: fc.array(text),
  },
  { requiredKeys: [] },
);

const request = fc.record(
  {
    version_info: text,
    resource_names: fc.array(text, { maxLength: LIMITS.maxNames }),
    type_url: text,
    response_nonce: text,
    error_detail: fc.record(
      {
        code: fc.integer(),
        message: text,
        details: fc.array(fc.record({ type_url: text, value: fc.uint8Array() })),
      },
      { requiredKeys: [] },
    ),
    node,
  },
  { requiredKeys: [] },
);

type RequestValue = typeof request extends fc.Arbitrary<infer T> ? T : never;

/** What the decoder has to make of a request, said without it. */
function expected(value: RequestValue): DiscoveryRequest {
  const { error_detail: detail, node: sent } = value;
  const version = sent?.user_agent_build_version?.version;
  const flag = sent?.metadata?.fields[SWITCH] as { boolValue: boolean } | undefined;
  return {
    versionInfo: value.version_info ?? '',
    resourceNames: value.resource_names ?? [],
    typeUrl: value.type_url ?? '',
    responseNonce: value.response_nonce ?? '',
    errorDetail: detail && { code: detail.code ?? 0, message: detail.message ?? '' },
    node: sent && {
      id: sent.id ?? '',
      cluster: sent.cluster ?? '',
      disableSpiffeCertValidation: flag?.boolValue,
      userAgentName: sent.user_agent_name ?? '',
      userAgentVersion: version && {
        major: version.major_number,
        minor: version.minor_number,
        patch: version.patch,
      },
    },
  };
}

/** The first request of an Envoy 1.40: 516 extensions, about 60 kB. */
function envoyRequest(): object {
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

const malformed = { name: 'IdentityError', code: 'ERR_BAD_REQUEST' };

describe('decodeDiscoveryRequest()', () => {
  it('reads what protobufjs writes', () => {
    fc.assert(
      fc.property(request, (value) => {
        assert.deepEqual(decode(encode(Request, value)), expected(value));
      }),
      { numRuns: 300 },
    );
  });

  it('steps over fields it does not know, at any place', () => {
    const unknown = fc
      .record({
        number: fc.integer({ min: 100, max: 2 ** 29 - 1 }),
        content: fc.constantFrom(
          [0, 1],
          [1, 1, 2, 3, 4, 5, 6, 7, 8],
          [2, 2, 8, 1],
          [5, 1, 2, 3, 4],
        ),
      })
      .map(({ number, content: [type = 0, ...rest] }) => field(number, type, ...rest));
    fc.assert(
      fc.property(request, unknown, unknown, (value, a, b) => {
        const { node: sent, ...others } = value;
        const withNode = sent ? embedded(2, Buffer.concat([a, encode(Node, sent), b])) : a;
        const bytes = Buffer.concat([b, withNode, a, encode(Request, others), b]);
        assert.deepEqual(decode(bytes), expected(value));
      }),
    );
  });

  it('reads the first request of a real Envoy', () => {
    const bytes = encode(Request, envoyRequest());
    assert.ok(bytes.length > 60_000, `${bytes.length} bytes`);
    assert.deepEqual(decode(bytes), {
      versionInfo: '',
      resourceNames: ['spiffe://example.org/web'],
      typeUrl: SECRET_TYPE_URL,
      responseNonce: '',
      errorDetail: undefined,
      node: {
        id: 'sidecar~10.0.0.7~web-0.default',
        cluster: 'web.default',
        disableSpiffeCertValidation: true,
        userAgentName: 'envoy',
        userAgentVersion: { major: 1, minor: 40, patch: 2 },
      },
    });
  });

  it('keeps nothing of the bytes alive', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const kept: DiscoveryRequest[] = [];
    const receive = (): WeakRef<ArrayBufferLike> => {
      const bytes = new Uint8Array(encode(Request, envoyRequest()));
      kept.push(decode(bytes));
      return new WeakRef(bytes.buffer);
    };
    const bytes = receive();
    await nextTurn();
    collect();
    assert.equal(bytes.deref(), undefined);
    assert.equal(kept[0]?.node?.cluster, 'web.default');
  });

  it('takes a message that was cut between fields, and refuses one cut anywhere else', () => {
    const small = {
      version_info: 'v1',
      node: { id: 'a', cluster: 'b', user_agent_build_version: { version: { minor_number: 40 } } },
      resource_names: ['default', 'ROOTCA'],
      type_url: SECRET_TYPE_URL,
      response_nonce: '7',
      error_detail: { code: 13, message: 'no' },
    };
    const bytes = encode(Request, small);
    const boundaries = new Set<number>([0]);
    const r = protobuf.Reader.create(bytes);
    while (r.pos < r.len) {
      r.skipType(r.uint32() & 7);
      boundaries.add(r.pos);
    }
    assert.equal(boundaries.size, 8);
    for (let length = 0; length <= bytes.length; length++) {
      const cut = bytes.subarray(0, length);
      if (boundaries.has(length)) assert.doesNotThrow(() => decode(cut), `${length}`);
      else assert.throws(() => decode(cut), malformed, `${length}`);
    }
  });

  it('throws nothing but its own error for random and for damaged bytes', () => {
    const good = encode(Request, envoyRequest()).subarray(0, 400);
    const damaged = fc
      .array(fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 })), { maxLength: 6 })
      .map((changes) => {
        const copy = Uint8Array.from(good);
        for (const [at, byte] of changes) copy[at] = byte;
        return copy;
      });
    let refused = 0;
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), damaged), (bytes) => {
        try {
          decode(bytes);
        } catch (error) {
          assert.ok(error instanceof IdentityError, String(error));
          assert.match(error.code, /^ERR_(BAD_REQUEST|LIMIT)$/);
          refused++;
        }
      }),
      { numRuns: 2000 },
    );
    assert.ok(refused > 100, `only ${refused} were refused`);
  });

  it('merges a message that comes in two parts', () => {
    const first = encode(Request, { node: { id: 'a', user_agent_name: 'x' }, version_info: '1' });
    const second = encode(Request, { node: { user_agent_name: 'y' }, version_info: '2' });
    const merged = decode(Buffer.concat([first, second]));
    assert.equal(merged.versionInfo, '2');
    assert.equal(merged.node?.id, 'a');
    assert.equal(merged.node.userAgentName, 'y');
  });

  it('stops at the first name over the limit, whatever follows', () => {
    const limits = { maxNames: 2, maxNameBytes: 7 };
    const names = (...resource_names: string[]): Uint8Array => encode(Request, { resource_names });
    assert.deepEqual(decode(names('default', 'ROOTCA'), limits).resourceNames, [
      'default',
      'ROOTCA',
    ]);
    assert.throws(() => decode(Buffer.concat([names('a', 'b', 'c'), field(1, 3)]), limits), {
      code: 'ERR_LIMIT',
      message: 'a request has more than 2 resource names, at most 2 are allowed',
    });
    assert.throws(() => decode(names('12345678'), limits), {
      code: 'ERR_LIMIT',
      message: 'a resource name has 8 bytes, at most 7 are allowed',
    });
  });

  it('limits the other texts that decide something', () => {
    for (const key of ['version_info', 'type_url', 'response_nonce']) {
      assert.doesNotThrow(() => decode(encode(Request, { [key]: 'x'.repeat(1024) })));
      assert.throws(() => decode(encode(Request, { [key]: 'x'.repeat(1025) })), {
        code: 'ERR_LIMIT',
        message: `${key} has 1025 bytes, at most 1024 are allowed`,
      });
    }
  });

  it('cuts the texts that are for people', () => {
    const long = 'x'.repeat(100_000);
    const cut = decode(
      encode(Request, {
        node: { id: long, cluster: long, user_agent_name: long },
        error_detail: { message: long },
      }),
    );
    assert.equal(cut.errorDetail?.message.length, 4096);
    assert.equal(cut.node?.id.length, 1024);
    assert.equal(cut.node.cluster.length, 1024);
    assert.equal(cut.node.userAgentName.length, 1024);
  });

  it('refuses resource locators, which would otherwise read as a wish for everything', () => {
    assert.throws(
      () => decode(encode(Request, { resource_locators: [{ name: 'default' }] })),
      malformed,
    );
  });

  it('refuses a name that is not UTF-8, but repairs the words of a NACK', () => {
    assert.throws(() => decode(embedded(3, Uint8Array.of(0x61, 0xff))), malformed);
    const detail = embedded(6, embedded(2, Uint8Array.of(0x61, 0xc3)));
    assert.equal(decode(detail).errorDetail?.message, 'a\ufffd');
  });

  it('knows a NACK by the presence of its detail, even an empty one', () => {
    assert.deepEqual(decode(embedded(6, Uint8Array.of())).errorDetail, { code: 0, message: '' });
    assert.equal(decode(Uint8Array.of()).errorDetail, undefined);
  });

  it('reads the switch as a boolean, or as a text that Go takes for one', () => {
    for (const text of ['1', 't', 'T', 'TRUE', 'true', 'True']) assert.equal(flagOf(text), true);
    for (const text of ['0', 'f', 'F', 'FALSE', 'false', 'False'])
      assert.equal(flagOf(text), false);
    for (const text of ['', 'yes', 'tRUE', ' true', 'true ', 'falsey', '10', 'falſe']) {
      assert.equal(flagOf(text), undefined, text);
    }
    function flagOf(stringValue: string): boolean | undefined {
      return decode(encode(Request, metadata({ stringValue }))).node?.disableSpiffeCertValidation;
    }
  });

  it('leaves the switch undefined for every other kind of value', () => {
    for (const kind of [
      {},
      { nullValue: 'NULL_VALUE' },
      { numberValue: 1 },
      { structValue: { fields: { a: { boolValue: true } } } },
      { listValue: { values: [{ boolValue: true }] } },
    ]) {
      const decoded = decode(encode(Request, metadata(kind)));
      assert.equal(decoded.node?.disableSpiffeCertValidation, undefined, JSON.stringify(kind));
    }
  });

  it('takes the last of several arms of a oneof', () => {
    const key = embedded(1, Buffer.from(SWITCH));
    const flag = (...arms: Uint8Array[]): boolean | undefined => {
      const entry = embedded(1, Buffer.concat([key, embedded(2, Buffer.concat(arms))]));
      return decode(embedded(2, embedded(3, entry))).node?.disableSpiffeCertValidation;
    };
    assert.equal(flag(field(4, 0, 0), field(4, 0, 1)), true);
    assert.equal(flag(field(4, 0, 1), field(1, 0, 0)), undefined);
    const build = embedded(8, embedded(1, field(2, 0, 40)));
    assert.ok(decode(embedded(2, build)).node?.userAgentVersion);
    const both = embedded(2, Buffer.concat([build, embedded(7, Buffer.from('1.40'))]));
    assert.equal(decode(both).node?.userAgentVersion, undefined);
  });

  it('refuses a request with a wrong wire type, and one with a group', () => {
    assert.throws(() => decode(field(3, 0, 1)), malformed);
    assert.throws(() => decode(Buffer.concat([field(99, 3), field(99, 4)])), malformed);
    assert.throws(() => decode(embedded(2, field(9, 3))), malformed);
  });
});

const pem = fc.uint8Array({ minLength: 1, maxLength: 300 });

describe('encodeDiscoveryResponse()', () => {
  it('writes what protobufjs reads, around resources that it leaves as they are', () => {
    fc.assert(
      fc.property(
        text,
        text,
        text,
        fc.array(pem, { maxLength: 4 }),
        (version, nonce, id, secrets) => {
          const resources = secrets.map((secret) => encodeResource(secret));
          const before = resources.map((resource) => Buffer.from(resource));
          const bytes = encodeDiscoveryResponse({
            versionInfo: version,
            resources,
            nonce,
            controlPlane: id,
          });
          assert.deepEqual(Response.toObject(Response.decode(bytes), { defaults: true }), {
            version_info: version,
            resources: secrets.map((secret) => ({
              type_url: SECRET_TYPE_URL,
              value: Buffer.from(secret),
            })),
            canary: false,
            type_url: SECRET_TYPE_URL,
            nonce,
            control_plane: { identifier: id },
            resource_errors: [],
          });
          bytes.fill(0);
          assert.deepEqual(resources, before);
        },
      ),
    );
  });
});
