import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { eventually } from '../support/eventually.ts';
import { data, FRAME, frame, grpcMessage, OPENING, openCall } from '../support/http2-frames.ts';
import { connectProxy, endingOfFetch } from '../support/sds-proxy.ts';
import { encodeRequest, SECRET_TYPE } from '../support/secrets.ts';
import { hasStatus, REQUEST, siege } from '../support/siege.ts';

describe('bad input on the public socket', { timeout: 240_000 }, () => {
  const attacked = siege();
  const { called, endures, outcome, raw } = attacked;

  describe('in gRPC messages', () => {
    endures('a message of 20 MB', async () => {
      const ending = await outcome(Buffer.alloc(20_000_000));
      assert.ok(ending !== 'served');
      assert.equal(ending.code, 'RESOURCE_EXHAUSTED');
      assert.match(ending.details, /20000000.*1048576/);
    });

    endures('a message that claims 4 GB', async () => {
      using peer = await called();
      await peer.write(data(1, grpcMessage(Buffer.alloc(10), { length: 0xffff_ffff })));
      await eventually(() => hasStatus(peer), { what: 'a status' });
    });

    endures('10,000 names, and names of any length', async () => {
      const names = Array.from({ length: 10_000 }, (_, n) => `spiffe://example.org/${n}`);
      const many = await outcome(encodeRequest({ resource_names: names }));
      assert.deepEqual(many, {
        code: 'RESOURCE_EXHAUSTED',
        details: 'a request has more than 2000 resource names, at most 2000 are allowed',
      });
      const long = await outcome(encodeRequest({ resource_names: ['a'.repeat(3000)] }));
      assert.ok(long !== 'served' && long.code === 'RESOURCE_EXHAUSTED');
      const full = names.slice(0, 400).map((name) => name + 'a'.repeat(2000));
      for (let n = 0; n < 20; n++) {
        const denied = await outcome(encodeRequest({ resource_names: full }));
        assert.ok(denied !== 'served' && denied.code === 'PERMISSION_DENIED');
        assert.ok(denied.details.length <= 512);
        // Asked for again the names are parked: another list each time.
        full.push(`spiffe://example.org/again${n}`);
      }
    });

    endures('any request', () => {
      const text = fc.oneof(
        fc.constantFrom(
          '',
          'default',
          'ROOTCA',
          'ALL',
          '*',
          'spiffe://example.org/web',
          SECRET_TYPE,
        ),
        fc.string({ unit: 'binary', maxLength: 30 }),
      );
      const request = fc.record(
        {
          version_info: text,
          resource_names: fc.array(text, { maxLength: 5 }),
          type_url: text,
          response_nonce: text,
          error_detail: fc.record({ code: fc.nat(), message: text }),
          node: fc.record({ id: text, cluster: text, user_agent_name: text }),
        },
        { requiredKeys: [] },
      );
      return fc.assert(
        fc.asyncProperty(request, async (fields) => {
          const ending = await outcome(encodeRequest(fields));
          const codes = ['INVALID_ARGUMENT', 'PERMISSION_DENIED'];
          assert.ok(ending === 'served' || codes.includes(ending.code), JSON.stringify(ending));
        }),
        { numRuns: 100 },
      );
    });

    endures('any bytes in the place of a request', () =>
      fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
          const ending = await outcome(bytes);
          const codes = ['INVALID_ARGUMENT', 'PERMISSION_DENIED', 'RESOURCE_EXHAUSTED'];
          assert.ok(ending === 'served' || codes.includes(ending.code), JSON.stringify(ending));
        }),
        { numRuns: 100 },
      ),
    );

    it('takes an empty message for a request for everything', async () => {
      assert.equal(await outcome(Buffer.alloc(0)), 'served');
    });

    endures('thousands of empty messages', async () => {
      using peer = await called();
      const many = Buffer.concat(Array.from({ length: 2000 }, () => grpcMessage(Buffer.alloc(0))));
      for (let n = 0; n < 50 && !peer.closed; n++) await peer.write(data(1, many));
      await eventually(() => hasStatus(peer), { what: 'the stream ends' });
    });

    endures('names that change all the time for a peer that does not read', async () => {
      using peer = await raw();
      const noWindow = frame(FRAME.settings, 0, 0, Buffer.of(0, 4, 0, 0, 0, 0));
      await peer.write(Buffer.concat([OPENING, noWindow, openCall(1)]));
      const toggles = ['default', 'ROOTCA'].map((name) =>
        data(1, grpcMessage(encodeRequest({ resource_names: [name] }))),
      );
      const many = Buffer.concat(Array.from({ length: 200 }, () => toggles).flat());
      for (let n = 0; n < 100 && !peer.closed; n++) await peer.write(many);
    });

    it('reads compressed requests, of which some proxies are fond', async () => {
      using peer = await called([['grpc-encoding', 'gzip']]);
      await peer.write(data(1, grpcMessage(gzipSync(REQUEST), { compressed: 1 })));
      await eventually(() => peer.received().includes('BEGIN CERTIFICATE'), { what: 'an answer' });
    });

    endures('what claims to be compressed, and is not or is a bomb', async () => {
      const bomb = gzipSync(Buffer.alloc(200_000_000));
      for (const [encoding, body] of [
        ['gzip', Buffer.from('no gzip')],
        ['deflate', Buffer.alloc(0)],
        ['gzip', gzipSync(REQUEST).subarray(0, 15)],
        ['snappy', REQUEST],
        ['gzip', bomb],
      ] as const) {
        using peer = await called([['grpc-encoding', encoding]]);
        const message = grpcMessage(body, { compressed: 1 });
        for (let at = 0; at < message.length; at += 16_000) {
          await peer.write(data(1, message.subarray(at, at + 16_000)));
        }
        await eventually(() => hasStatus(peer), { what: encoding });
        assert.ok(!peer.received().includes('BEGIN CERTIFICATE'));
      }
    });

    it('ends unary calls in the same way', async () => {
      using proxy = connectProxy(attacked.daemon.socketPath);
      const names = Array.from({ length: 3000 }, () => 'default');
      const ending = await endingOfFetch(proxy.fetch({ resource_names: names }));
      assert.equal(ending.code, 'RESOURCE_EXHAUSTED');
    });
  });

  attacked.endsAsItBegan();
});
