import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseSerial } from './serial.ts';

describe('parseSerial()', () => {
  it('takes a number as the tools print it', () => {
    for (const text of ['4f0a', '4F:0A', '0x4F0A', '004f0a', '4f0a']) {
      assert.equal(parseSerial(text), '4f0a');
    }
    assert.equal(parseSerial('7'), '07');
    assert.equal(parseSerial('80'), '0080');
    assert.equal(parseSerial('ff'.repeat(20)), `00${'ff'.repeat(20)}`);
  });

  it('refuses what is none', () => {
    for (const text of ['', '0', '00:00', 'xyz', '4f 0a', '-4f', '0x', 'ff'.repeat(21), '4f\n']) {
      assert.throws(() => parseSerial(text), { code: 'ERR_BAD_REQUEST' }, JSON.stringify(text));
    }
  });

  it('gives every number one spelling', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: 2n ** 160n - 1n }), (number) => {
        const parsed = parseSerial(number.toString(16));
        assert.equal(BigInt(`0x${parsed}`), number);
        assert.equal(parseSerial(parsed), parsed);
        assert.ok(Number.parseInt(parsed.slice(0, 2), 16) < 0x80);
      }),
    );
  });
});
