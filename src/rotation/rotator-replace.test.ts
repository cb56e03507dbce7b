import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settle } from '../../test/support/fake-clock.ts';
import { ask, broken, rotation } from '../../test/support/rotation.ts';

describe('replace()', () => {
  it('signs anew at once what has one of the serials, and nothing else', async () => {
    const { hold, issuer, rotator } = rotation();
    const [one, other] = [hold('p'), hold('q')];
    await settle();
    assert.equal(rotator.replace(new Set(['1', '77'])), 1);
    await settle();
    assert.deepEqual([one.seen, other.seen], [['1', '3'], ['2']]);
    assert.equal(rotator.replace(new Set(['1'])), 0);
    assert.equal(issuer.requests.length, 3);
  });

  it('keeps what there is while there is no other, and tries again until there is', async () => {
    const { clock, hold, issuer, rotator } = rotation();
    const { serial } = hold();
    await settle();
    issuer.fault = broken;
    rotator.replace(new Set(['1']));
    await clock.advance(60_000);
    assert.deepEqual([serial(), rotator.stats().due], ['1', 1]);
    issuer.fault = undefined;
    await clock.advance(30_000);
    assert.notEqual(serial(), '1');
    assert.equal(rotator.stats().due, 0);
  });

  it('signs anew what was revoked before it was here', async () => {
    const { hold, issuer, rotator } = rotation();
    issuer.late = true;
    const { seen } = hold();
    assert.equal(rotator.replace(new Set(['1'])), 0);
    issuer.late = false;
    await issuer.sign();
    assert.deepEqual(seen, ['1', '2']);
    rotator.replace(new Set(['77']));
    await settle();
    assert.equal(issuer.requests.length, 2);
  });

  it('drops what nobody holds: who asks again gets another one', async () => {
    const { hold, rotator } = rotation();
    hold().release();
    await settle();
    assert.equal(rotator.replace(new Set(['1'])), 1);
    assert.equal(rotator.stats().held, 0);
    const { seen } = hold('p', ask());
    await settle();
    assert.deepEqual(seen, ['2']);
  });
});
