import assert from 'node:assert/strict';
import { describe } from 'node:test';
import fc from 'fast-check';
import { eventually } from '../support/eventually.ts';
import {
  callHeaders,
  data,
  END_HEADERS,
  END_STREAM,
  FRAME,
  frame,
  grpcMessage,
  headerBlock,
  OPENING,
  openCall,
  openManyCalls,
} from '../support/http2-frames.ts';
import { encodeRequest } from '../support/secrets.ts';
import { REQUEST, siege } from '../support/siege.ts';

describe('bad input on the public socket', { timeout: 240_000 }, () => {
  const attacked = siege();
  const { called, endures, raw, untilIdle } = attacked;

  describe('that is no HTTP/2', () => {
    endures('random bytes', () =>
      fc.assert(
        fc.asyncProperty(fc.uint8Array({ minLength: 24, maxLength: 2000 }), async (bytes) => {
          using peer = await raw();
          await peer.write(bytes);
          peer.end();
          await peer.untilClosed();
        }),
        { numRuns: 50 },
      ),
    );

    endures('HTTP/1 requests, which it closes', async () => {
      for (let n = 0; n < 20; n++) {
        using peer = await raw();
        await peer.write(Buffer.from('GET / HTTP/1.1\r\nHost: sds\r\n\r\n'));
        await peer.untilClosed();
      }
    });

    endures('connections that end half way', async () => {
      for (let n = 0; n <= OPENING.length; n += 3) {
        using peer = await raw();
        await peer.write(OPENING.subarray(0, n));
        peer.end();
        await peer.untilClosed();
      }
    });

    endures('1,000 connections that never speak', async () => {
      const peers = await Promise.all(Array.from({ length: 1000 }, raw));
      await attacked.witness.look();
      for (const peer of peers) peer.close();
    });
  });

  describe('in HTTP/2 frames', () => {
    const number = fc.integer({ min: 0, max: 9 });
    const randomFrame = fc.oneof(
      fc
        .record({
          type: fc.integer({ min: 0, max: 12 }),
          flags: fc.integer({ min: 0, max: 255 }),
          stream: number,
          payload: fc.uint8Array({ maxLength: 40 }),
          extra: fc.constantFrom(0, 0, 0, 1, 20_000),
        })
        .map(({ type, flags, stream, payload, extra }) =>
          frame(type, flags, stream, payload, payload.length + extra),
        ),
      number.map((stream) => openCall(stream)),
      number.map((stream) => data(stream, grpcMessage(REQUEST))),
      number.map((stream) => frame(FRAME.reset, 0, stream, Buffer.of(0, 0, 0, 8))),
      number.map((stream) => frame(FRAME.windowUpdate, 0, stream, Buffer.of(0x7f, 255, 255, 255))),
    );
    endures('any order of valid and broken ones', () =>
      fc.assert(
        fc.asyncProperty(fc.array(randomFrame, { maxLength: 30 }), async (frames) => {
          using peer = await raw();
          await peer.write(Buffer.concat([OPENING, ...frames]));
        }),
        { numRuns: 200 },
      ),
    );

    endures('frames cut short', async () => {
      const whole = Buffer.concat([OPENING, openCall(1), data(1, grpcMessage(REQUEST))]);
      for (let n = OPENING.length; n < whole.length; n += 2) {
        using peer = await raw();
        await peer.write(whole.subarray(0, n));
      }
    });

    endures('streams that are reset as soon as they are opened', async () => {
      for (let n = 0; n < 3; n++) {
        using peer = await raw();
        await peer.write(OPENING);
        for (let id = 1; id < 6000 && !peer.closed; id += 200) {
          const ids = Array.from({ length: 100 }, (_, k) => id + 2 * k);
          await peer.write(
            Buffer.concat(
              ids.flatMap((k) => [openCall(k), frame(FRAME.reset, 0, k, Buffer.of(0, 0, 0, 8))]),
            ),
          );
        }
        await peer.untilClosed();
      }
    });

    endures('pings and settings of a peer that does not read the answers', async () => {
      for (const one of [
        frame(FRAME.ping, 0, 0, Buffer.alloc(8)),
        frame(FRAME.settings, 0, 0, Buffer.of(0, 4, 0, 0, 0, 1)),
      ]) {
        using peer = await raw();
        await peer.write(OPENING);
        const many = Buffer.concat(Array.from({ length: 1000 }, () => one));
        for (let n = 0; n < 30 && !peer.closed; n++) await peer.write(many);
      }
    });

    endures('headers without an end, too many and too large ones', async () => {
      const long = headerBlock([['x-long', 'a'.repeat(15_000)]]);
      using endless = await raw();
      await endless.write(Buffer.concat([OPENING, openCall(1, [], 0)]));
      for (let n = 0; n < 500 && !endless.closed; n++) {
        await endless.write(frame(FRAME.continuation, 0, 1, long));
      }
      await endless.untilClosed();
      using many = await called(Array.from({ length: 300 }, (_, n) => [`x-${n}`, 'b'] as const));
      await many.write(data(1, grpcMessage(REQUEST)));
      await eventually(
        () => many.closed || many.frames().some(({ type }) => type === FRAME.reset),
        {
          what: 'the stream is refused',
        },
      );
    });

    endures('headers that are no metadata, and does not repeat them', async () => {
      const printed = attacked.daemon.log().length;
      for (let n = 0; n < 50; n++) {
        using peer = await called([
          ['x-text', '\xe9'.repeat(500)],
          ['x-bin', '%%%'],
          ['grpc-timeout', '5S'],
        ]);
        await peer.write(data(1, grpcMessage(REQUEST)));
        await eventually(() => peer.received().includes('BEGIN CERTIFICATE'), {
          what: 'an answer',
        });
      }
      assert.ok(attacked.daemon.log().length - printed < 2000);
    });

    endures('a message in tiny pieces, which it cuts off', async () => {
      using peer = await called();
      await peer.write(data(1, grpcMessage(Buffer.alloc(0), { length: 1_000_000 })));
      const pieces = Buffer.concat(Array.from({ length: 1000 }, () => data(1, Buffer.of(1))));
      for (let n = 0; n < 500 && !peer.closed; n++) await peer.write(pieces);
      await peer.untilClosed();
    });

    endures('messages that are never finished', async () => {
      using peer = await raw();
      await peer.write(OPENING);
      for (let id = 1; id < 200; id += 2) {
        const begin = data(id, grpcMessage(Buffer.alloc(0), { length: 1_000_000 }));
        await peer.write(Buffer.concat([openCall(id), begin]));
        for (let n = 0; n < 4; n++) await peer.write(data(id, Buffer.alloc(16_000)));
      }
    });

    endures('a flood of empty frames', async () => {
      using peer = await called();
      const many = Buffer.concat(Array.from({ length: 1000 }, () => data(1, Buffer.alloc(0))));
      for (let n = 0; n < 100 && !peer.closed; n++) await peer.write(many);
    });

    endures('streams that are kept half open after their end', async () => {
      using peer = await raw();
      await peer.write(OPENING);
      const refused = grpcMessage(encodeRequest({ resource_names: ['sds://x'] }));
      for (let id = 1; id < 4000; id += 2) {
        await peer.write(Buffer.concat([openCall(id), data(id, refused)]));
      }
      const resets = () => peer.frames().filter(({ type }) => type === FRAME.reset).length;
      await eventually(() => resets() > 1000, { what: 'the daemon ends them' });
    });

    endures('a thousand calls in one read, on a hundred connections at once', async () => {
      for (const method of ['Nothing', 'StreamSecrets']) {
        const burst = openManyCalls(1000, method, END_HEADERS | END_STREAM);
        const peers = await Promise.all(Array.from({ length: 100 }, raw));
        await Promise.all(peers.map((peer) => peer.write(Buffer.concat([OPENING, burst]))));
        await attacked.witness.look();
        for (const peer of peers) peer.close();
      }
    });

    endures('many calls of peers that leave at once, which cost nothing any more', async () => {
      const burst = openManyCalls(1000, 'Nothing', END_HEADERS | END_STREAM);
      const peers = await Promise.all(Array.from({ length: 200 }, raw));
      await Promise.all(peers.map((peer) => peer.write(Buffer.concat([OPENING, burst]))));
      for (const peer of peers) peer.close();
      await untilIdle('the daemon is done with them', 4000);
    });

    endures('methods and content types that do not exist', async () => {
      using peer = await raw();
      await peer.write(OPENING);
      for (let id = 1; id < 2000; id += 2) {
        const headers = callHeaders('Nothing').map(([name, value]) =>
          id % 4 === 1 && name === 'content-type'
            ? ([name, 'text/html'] as const)
            : ([name, value] as const),
        );
        await peer.write(frame(FRAME.headers, END_HEADERS, id, headerBlock(headers)));
      }
    });
  });

  attacked.endsAsItBegan();
});
