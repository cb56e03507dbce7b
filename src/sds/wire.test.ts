import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from '../core/errors.ts';
import { WireReader } from './wire.ts';

/** Wire types, as the encoding numbers them. */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** A varint by the book: seven bits at a time, lowest first. */
function varint(value: bigint): number[] {
  const bytes: number[] = [];
  for (; value >= 0x80n; value >>= 7n) bytes.push(Number(value & 0x7fn) | 0x80);
  return [...bytes, Number(value)];
}

function tag(field: number, wireType: number): number[] {
  return varint((BigInt(field) << 3n) | BigInt(wireType));
}

function reader(...parts: readonly (readonly number[])[]): WireReader {
  return new WireReader(Uint8Array.from(parts.flat()));
}

const malformed = { name: 'IdentityError', code: 'ERR_BAD_REQUEST' };
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const fieldNumber = fc.integer({ min: 1, max: 2 ** 29 - 1 });

describe('WireReader', () => {
  it('keeps the low 32 bits of any 64-bit number', () => {
    fc.assert(
      fc.property(fieldNumber, uint64, (field, value) => {
        const r = reader(tag(field, VARINT), varint(value));
        assert.equal(r.next(), true);
        assert.equal(r.field, field);
        assert.equal(r.uint32(), Number(value & 0xffff_ffffn));
        assert.equal(r.next(), false);
      }),
    );
  });

  it('takes a number for true when only its high bits are set', () => {
    for (const [value, expected] of [
      [0n, false],
      [1n, true],
      [2n ** 63n, true],
      [2n ** 32n, true],
    ] as const) {
      const r = reader(tag(1, VARINT), varint(value));
      r.next();
      assert.equal(r.bool(), expected, `${value}`);
    }
  });

  it('refuses a number of more than ten bytes', () => {
    const r = reader(tag(1, VARINT), Array<number>(10).fill(0x80), [0]);
    r.next();
    assert.throws(() => r.uint32(), malformed);
  });

  it('steps over fields that nobody reads, of every wire type', () => {
    const skipped = fc.oneof(
      uint64.map((value) => [VARINT, varint(value)] as const),
      fc.uint8Array({ minLength: 8, maxLength: 8 }).map((b) => [FIXED64, [...b]] as const),
      fc.uint8Array({ minLength: 4, maxLength: 4 }).map((b) => [FIXED32, [...b]] as const),
      fc
        .uint8Array({ maxLength: 300 })
        .map((b) => [LENGTH_DELIMITED, [...varint(BigInt(b.length)), ...b]] as const),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fieldNumber, skipped)), (fields) => {
        const bytes = fields.map(([field, [type, value]]) => [...tag(field, type), ...value]);
        const r = reader(...bytes, tag(7, VARINT), [42]);
        for (const [field] of fields) {
          assert.equal(r.next(), true);
          assert.equal(r.field, field);
        }
        r.next();
        assert.equal(r.uint32(), 42);
        assert.equal(r.next(), false);
      }),
    );
  });

  it('refuses groups, unknown wire types, field 0 and a tag above 32 bits', () => {
    for (const bytes of [
      tag(1, 3),
      tag(1, 4),
      tag(1, 6),
      tag(1, 7),
      tag(0, VARINT),
      varint((2n ** 32n) | 8n),
    ]) {
      const r = reader(bytes, [0, 0, 0]);
      assert.throws(() => {
        while (r.next());
      }, malformed);
    }
  });

  it('refuses a length past the end, also one that would fit in its low 32 bits', () => {
    for (const length of [4n, 127n, 2n ** 31n, 2n ** 32n + 1n, 2n ** 63n + 3n]) {
      for (const read of [
        (r: WireReader) => r.text('a text', 10),
        (r: WireReader) => r.display(10),
        (r: WireReader) => r.enter(),
        (r: WireReader) => r.equals(Buffer.from('a')),
        (r: WireReader) => r.next(),
      ]) {
        const r = reader(tag(1, LENGTH_DELIMITED), varint(length), [0x61, 0x62, 0x63]);
        r.next();
        assert.throws(() => read(r), malformed, `${length}`);
      }
    }
  });

  it('keeps an embedded message from reading what follows it', () => {
    // The inner text says three bytes, of which the embedded message has one.
    const inner = [...tag(1, LENGTH_DELIMITED), 3, 0x61];
    const r = reader(tag(1, LENGTH_DELIMITED), [inner.length], inner, [0x62, 0x63]);
    r.next();
    r.enter();
    r.next();
    assert.throws(() => r.text('a text', 10), malformed);
  });

  it('goes on after an embedded message, read to its end or not entered at all', () => {
    const inner = [...tag(1, VARINT), 5, ...tag(9, VARINT), 6];
    const bytes = [
      [...tag(2, LENGTH_DELIMITED), inner.length, ...inner],
      [...tag(2, LENGTH_DELIMITED), inner.length, ...inner],
      [...tag(3, VARINT), 7],
    ];
    const r = reader(...bytes);
    r.next();
    const outer = r.enter();
    const seen: number[] = [];
    while (r.next()) seen.push(r.field);
    r.leave(outer);
    assert.deepEqual(seen, [1, 9]);
    assert.equal(r.next() && r.field, 2);
    assert.equal(r.next() && r.field, 3);
    assert.equal(r.uint32(), 7);
  });

  it('refuses a known field of another wire type, and a second read of the same field', () => {
    const r = reader(tag(1, VARINT), [1], tag(2, LENGTH_DELIMITED), [1, 0x61]);
    r.next();
    assert.throws(() => r.text('a text', 10), malformed);
    assert.equal(r.uint32(), 1);
    assert.throws(() => r.uint32(), malformed);
    r.next();
    assert.throws(() => r.uint32(), malformed);
  });

  it('reads texts as they were written, and refuses what is not UTF-8', () => {
    const field = (bytes: Buffer): WireReader => {
      const r = reader(tag(1, LENGTH_DELIMITED), varint(BigInt(bytes.length)), [...bytes]);
      r.next();
      return r;
    };
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        assert.equal(field(Buffer.from(text)).text('a text', 1000), text);
      }),
    );
    assert.equal(field(Buffer.from('a\ufffdb')).text('a text', 10), 'a\ufffdb');
    for (const bytes of ['ff', '61c3', 'eda080', 'c080', 'f4908080']) {
      assert.throws(() => field(Buffer.from(bytes, 'hex')).text('a text', 10), malformed, bytes);
    }
  });

  it('names both numbers of a broken limit', () => {
    const r = reader(tag(1, LENGTH_DELIMITED), [3, 0x61, 0x62, 0x63]);
    r.next();
    assert.throws(() => r.text('a name', 2), {
      code: 'ERR_LIMIT',
      message: 'a name has 3 bytes, at most 2 are allowed',
    });
  });

  it('cuts and repairs a text for people', () => {
    const bytes = Buffer.from('aé');
    const r = reader(tag(1, LENGTH_DELIMITED), [bytes.length], [...bytes], tag(2, VARINT), [9]);
    r.next();
    assert.equal(r.display(2), 'a\ufffd');
    assert.equal(r.next() && r.uint32(), 9);
  });

  it('throws nothing but its own error for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const r = new WireReader(bytes);
        try {
          while (r.next()) {
            if (r.field % 2 === 0) continue;
            const outer = r.enter();
            while (r.next());
            r.leave(outer);
          }
        } catch (error) {
          assert.ok(error instanceof IdentityError, String(error));
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('reads a part of a larger buffer', () => {
    const whole = Uint8Array.from([0xff, ...tag(1, LENGTH_DELIMITED), 2, 0x68, 0x69, 0xff]);
    const r = new WireReader(whole.subarray(1, 5));
    assert.equal(r.next() && r.text('a text', 10), 'hi');
    assert.equal(r.next(), false);
  });
});
