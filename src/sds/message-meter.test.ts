import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { grpcMessage } from '../../test/support/http2-frames.ts';
import { MessageMeter } from './message-meter.ts';

const MAX = 1_000_000;

/** Feeds bytes in pieces of a size; how many pieces were taken before one was refused. */
function feed(meter: MessageMeter, bytes: Buffer, size: number): number {
  let taken = 0;
  for (let at = 0; at < bytes.length; at += size) {
    if (!meter.take(bytes.subarray(at, at + size))) return taken;
    taken++;
  }
  return taken;
}

describe('MessageMeter', () => {
  it('holds nothing of messages that are whole, however they are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 300 }), { maxLength: 5 }),
        fc.integer({ min: 8, max: 400 }),
        (sizes, pieceSize) => {
          const meter = new MessageMeter(MAX);
          const bytes = Buffer.concat(sizes.map((size) => grpcMessage(Buffer.alloc(size, 1))));
          assert.equal(feed(meter, bytes, pieceSize), Math.ceil(bytes.length / pieceSize));
          assert.equal(meter.buffered, 0);
        },
      ),
    );
  });

  it('holds what has come of the unfinished message, and only of that', () => {
    const meter = new MessageMeter(MAX);
    const begun = grpcMessage(Buffer.alloc(50), { length: 1000 });
    meter.take(Buffer.concat([grpcMessage(Buffer.alloc(500)), begun]));
    assert.equal(meter.buffered, 55);
    meter.take(Buffer.alloc(100));
    assert.equal(meter.buffered, 155);
    meter.take(Buffer.alloc(850));
    assert.equal(meter.buffered, 0);
  });

  it('takes a real request in frames of any usual size', () => {
    for (const size of [1024, 4096, 16_384, 65_536]) {
      const bytes = grpcMessage(Buffer.alloc(61_000));
      assert.equal(feed(new MessageMeter(MAX), bytes, size), Math.ceil(bytes.length / size));
    }
  });

  it('takes any number of small messages', () => {
    const meter = new MessageMeter(MAX);
    for (let n = 0; n < 10_000; n++) assert.ok(meter.take(grpcMessage(Buffer.alloc(100))));
  });

  it('refuses a message in tiny pieces long before it is whole', () => {
    const pieces = feed(new MessageMeter(MAX), grpcMessage(Buffer.alloc(0), { length: MAX }), 1);
    assert.equal(pieces, 5);
    const meter = new MessageMeter(MAX);
    const message = grpcMessage(Buffer.alloc(MAX));
    const taken = feed(meter, message, 1);
    assert.ok(taken < 2100, `${taken} pieces`);
  });

  it('does not count what is too large, for nobody keeps it', () => {
    const meter = new MessageMeter(MAX);
    meter.take(grpcMessage(Buffer.alloc(1000), { length: MAX + 1 }));
    for (let n = 0; n < 10; n++) meter.take(Buffer.alloc(16_000));
    assert.equal(meter.buffered, 0);
  });
});
