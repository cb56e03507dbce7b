import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import {
  decode,
  embedded,
  encode,
  envoyRequest,
  field,
  malformed,
  Request,
} from '../../test/support/discovery-requests.ts';
import { IdentityError } from '../core/errors.ts';
import { SECRET_TYPE_URL } from './secret-messages.ts';

describe('decodeDiscoveryRequest() of a hostile peer', () => {
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

  it('refuses a request with a wrong wire type, and one with a group', () => {
    assert.throws(() => decode(field(3, 0, 1)), malformed);
    assert.throws(() => decode(Buffer.concat([field(99, 3), field(99, 4)])), malformed);
    assert.throws(() => decode(embedded(2, field(9, 3))), malformed);
  });
});
