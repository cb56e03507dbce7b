import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import {
  decode,
  embedded,
  encode,
  envoyRequest,
  field,
  LIMITS,
  Node,
  Request,
  Response,
  SWITCH,
} from '../../test/support/discovery-requests.ts';
import { encodeDiscoveryResponse, type DiscoveryRequest } from './messages.ts';
import { encodeResource, SECRET_TYPE_URL } from './secret-messages.ts';

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

  it('merges a message that comes in two parts', () => {
    const first = encode(Request, { node: { id: 'a', user_agent_name: 'x' }, version_info: '1' });
    const second = encode(Request, { node: { user_agent_name: 'y' }, version_info: '2' });
    const merged = decode(Buffer.concat([first, second]));
    assert.equal(merged.versionInfo, '2');
    assert.equal(merged.node?.id, 'a');
    assert.equal(merged.node.userAgentName, 'y');
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
