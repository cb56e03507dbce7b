import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from './errors.ts';
import { der, DerReader, headerBytes, TAG, writeHeader } from './der.ts';
import { readTime, timeBytes, writeTime } from './der-time.ts';

const malformed = { name: 'IdentityError', code: 'ERR_BAD_REQUEST' };

describe('DerReader', () => {
  it('reads back every length up to the limit of the writer', () => {
    for (const length of [0, 1, 126, 127, 128, 129, 254, 255, 256, 257, 2048, 65_534, 65_535]) {
      const bytes = der(TAG.octetString, Buffer.alloc(length, 7));
      const reader = new DerReader(bytes);
      assert.equal(reader.content(TAG.octetString).length, length);
      assert.equal(bytes.length, headerBytes(length) + length);
      reader.finish();
    }
  });

  it('writes nothing longer than that', () => {
    const write = () => writeHeader(Buffer.alloc(8), 0, TAG.sequence, 65_536);
    assert.throws(write, { code: 'ERR_BUG' });
  });

  it('refuses lengths that are not in their shortest form, indefinite or too long', () => {
    for (const hex of [
      '308100',
      '30817f',
      '30820001',
      '308200ff',
      '3080',
      '3083000001',
      '3002',
      '30',
    ]) {
      assert.throws(
        () => new DerReader(Buffer.from(hex, 'hex')).enter(TAG.sequence),
        malformed,
        hex,
      );
    }
  });

  it('refuses another tag, a child that leaves its parent and bytes left over', () => {
    const nested = Buffer.from('3003040500000000', 'hex');
    assert.throws(() => new DerReader(nested).enter(TAG.integer), malformed);
    const content = new DerReader(nested).enter(TAG.sequence);
    assert.throws(() => content.element(TAG.octetString), malformed);
    assert.throws(() => new DerReader(nested).enter(TAG.sequence).finish(), malformed);
  });

  it('compares in place without reading beyond the parent', () => {
    const bytes = der(TAG.octetString, Buffer.from('abc'));
    assert.equal(new DerReader(bytes).skipText(TAG.octetString, 'abc'), true);
    assert.equal(new DerReader(bytes).skipText(TAG.octetString, 'abd'), false);
    assert.equal(new DerReader(bytes).skipText(TAG.octetString, 'ab'), false);
    assert.equal(new DerReader(bytes).skipContent(TAG.octetString, Buffer.from('abc')), true);
    assert.equal(new DerReader(bytes).skipContent(TAG.octetString, Buffer.from('ab')), false);
    assert.equal(new DerReader(bytes, 0, 4).skip(bytes), false);
    assert.equal(new DerReader(bytes).skip(bytes), true);
  });

  it('ends any bytes with a value or ERR_BAD_REQUEST', () => {
    const walk = (reader: DerReader): void => {
      while (!reader.done) {
        const tag = reader.tag ?? 0;
        const inner = reader.enter(tag);
        if ((tag & 0x20) !== 0) walk(inner);
      }
    };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          walk(new DerReader(Buffer.from(bytes)));
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError && thrown.code === 'ERR_BAD_REQUEST');
        }
      }),
    );
  });
});

describe('times', () => {
  const write = (ms: number) => {
    const out = Buffer.alloc(timeBytes(ms));
    assert.equal(writeTime(out, 0, ms), out.length);
    return out;
  };

  it('are UTCTime through 2049 and GeneralizedTime from 2050 (RFC 5280 4.1.2.5)', () => {
    assert.equal(write(Date.UTC(2049, 11, 31, 23, 59, 59)).toString('latin1', 2), '491231235959Z');
    assert.equal(write(Date.UTC(2050, 0, 1)).toString('latin1', 2), '20500101000000Z');
    assert.equal(write(Date.UTC(2050, 0, 1))[0], TAG.generalizedTime);
    assert.equal(write(Date.UTC(1999, 0, 2, 3, 4, 5)).toString('latin1', 2), '990102030405Z');
  });

  it('are read back to the same second', () => {
    const last = Date.UTC(9999, 11, 31, 23, 59, 59) / 1000;
    const seconds = fc.integer({ min: Date.UTC(1950, 0, 1) / 1000, max: last });
    fc.assert(
      fc.property(seconds, (second) => {
        const bytes = write(second * 1000);
        assert.equal(readTime(new DerReader(bytes)), second * 1000);
        const digits = new Date(second * 1000).toISOString().replaceAll(/[-:T]|\..*/g, '');
        assert.ok(`${digits}Z`.endsWith(bytes.toString('latin1', 2)));
      }),
    );
  });

  it('refuse what does not exist and forms that RFC 5280 does not allow', () => {
    const utc = [
      '490230000000Z',
      '491301000000Z',
      '490001000000Z',
      '490100000000Z',
      '490101240000Z',
    ];
    const form = [
      '490101006000Z',
      '490101000060Z',
      '4901010000Z',
      '490101000000+',
      '4901010000 0Z',
    ];
    for (const text of [...utc, ...form]) {
      assert.throws(
        () => readTime(new DerReader(der(TAG.utcTime, Buffer.from(text)))),
        malformed,
        text,
      );
    }
    for (const text of [
      '20491231235959Z',
      '20500101000000.0Z',
      '00500101000000Z',
      '20500132000000Z',
    ]) {
      const bytes = der(TAG.generalizedTime, Buffer.from(text));
      assert.throws(() => readTime(new DerReader(bytes)), malformed, text);
    }
  });
});
