import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { API, WEB } from '../../test/support/identities.ts';
import { createSignedSerials } from './signed-serials.ts';

const svid = (serial: string, notAfterMs: number, id = WEB) => ({
  ...{ id, serial, notAfterMs },
  authorityId: 'aa',
});
const HOUR = 3_600_000;

describe('createSignedSerials()', () => {
  it('knows what lives of an identity, and each by its serial', () => {
    let now = 0;
    const signed = createSignedSerials(() => now);
    for (const one of [svid('1', HOUR), svid('2', 2 * HOUR), svid('3', HOUR, API)]) signed.add(one);
    assert.deepEqual(
      signed.of(WEB).map(({ serial }) => serial),
      ['1', '2'],
    );
    now = HOUR + 1;
    assert.deepEqual(
      signed.of(WEB).map(({ serial }) => serial),
      ['2'],
    );
    assert.equal(signed.get('3')?.id, API);
    assert.equal(signed.get('4'), undefined);
  });

  it('lets go of what has ended long ago, and says nothing was forgotten', () => {
    let now = 0;
    const signed = createSignedSerials(() => now, { firstSweep: 10, most: 100 });
    for (let n = 0; n < 10_000; n++) {
      now = n * 1000;
      signed.add(svid(`${n}`, now + 1000));
    }
    assert.equal(signed.forgot, false);
    assert.equal(signed.get('0'), undefined);
    assert.notEqual(signed.get('9999'), undefined);
  });

  it('never holds more than it may, forgets the oldest first and says so', () => {
    const signed = createSignedSerials(() => 0, { firstSweep: 10, most: 100 });
    for (let n = 0; n < 1000; n++) signed.add(svid(`${n}`, HOUR));
    assert.ok(signed.of(WEB).length <= 100, `${signed.of(WEB).length}`);
    assert.ok(signed.of(WEB).length >= 90);
    assert.equal(signed.get('0'), undefined);
    assert.notEqual(signed.get('999'), undefined);
    assert.equal(signed.forgot, true);
  });
});
