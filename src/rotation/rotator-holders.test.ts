import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settle } from '../../test/support/fake-clock.ts';
import { API, WEB } from '../../test/support/identities.ts';
import { ask, HOUR, rotation } from '../../test/support/rotation.ts';
import { parseSpiffeId } from '../identity/spiffe-id.ts';

describe('createRotator() with holders that come and go', () => {
  it('keeps an SVID for a while that nobody holds, for a process that reconnects', async () => {
    const { hold, issuer, clock, rotator } = rotation();
    const { release } = hold();
    await settle();
    release();
    release();
    await clock.advance(59_999);
    const again = hold();
    assert.equal(again.serial(), '1');
    await clock.advance(10 * 60_000);
    assert.equal(again.serial(), '1');
    again.release();
    await clock.advance(60_000);
    assert.deepEqual([rotator.stats().held, clock.timers], [0, 0]);
    hold();
    await settle();
    assert.equal(issuer.requests.length, 2);
  });

  it('does not renew what nobody holds', async () => {
    const { hold, issuer, clock, rotator } = rotation();
    const { release } = hold('p', ask(WEB, { ttlMs: 20_000 }));
    await settle();
    release();
    await clock.advance(60_000);
    assert.deepEqual([issuer.requests.length, rotator.stats().held], [1, 0]);
  });

  it('signs once for users that come and go while it signs', async () => {
    const { hold, issuer, clock } = rotation();
    issuer.late = true;
    for (let n = 0; n < 50; n++) {
      hold().release();
      await clock.advance(1);
    }
    const { serial } = hold();
    await issuer.sign();
    assert.deepEqual([issuer.requests.length, serial()], [1, '1']);
  });

  it('drops everything of a process that is gone', async () => {
    const { hold, clock, rotator, issuer } = rotation();
    const [a, b] = [hold('p'), hold('p', ask(API))];
    const other = hold('q');
    await settle();
    rotator.forget('p');
    assert.equal(rotator.stats().held, 1);
    for (const { release } of [a, b]) release();
    await clock.advance(0.5 * HOUR);
    assert.equal(issuer.requests.length, 4);
    assert.equal(other.serial(), '4');
    rotator.forget('nobody');
  });

  it('throws away what is signed for a process that went meanwhile', async () => {
    const { hold, rotator, issuer, clock } = rotation();
    issuer.late = true;
    const { seen, serial } = hold();
    rotator.forget('p');
    await issuer.sign();
    assert.deepEqual([seen, serial(), rotator.stats().held], [[], undefined, 0]);
    assert.equal(clock.timers, 0);
  });

  it('takes back what is being signed for a process that went, and nothing else', async () => {
    const { hold, rotator, issuer } = rotation();
    issuer.late = true;
    hold('p');
    hold('p', ask(API));
    const { serial } = hold('q');
    rotator.forget('p');
    assert.deepEqual(
      issuer.signals.map((signal) => signal.aborted),
      [true, true, false],
    );
    await issuer.sign();
    assert.equal(serial(), '3');
    hold('p');
    assert.equal(issuer.signals.at(-1)?.aborted, false);
  });

  it('never has two mints under one signal', async () => {
    const { hold, issuer } = rotation();
    issuer.late = true;
    for (let n = 0; n < 100; n++) hold(`process ${n}`);
    assert.equal(new Set(issuer.signals).size, 100);
    await issuer.sign();
    const before = issuer.signals.length;
    for (let n = 0; n < 100; n++) hold(`another ${n}`);
    assert.equal(new Set(issuer.signals.slice(before)).size, 100);
  });

  it('signs for another process before all of one that asks for very much', async () => {
    const { hold, issuer } = rotation();
    issuer.late = true;
    const many = Array.from({ length: 500 }, (_, n) =>
      hold('greedy', ask(parseSpiffeId(`spiffe://example.org/${n}`))),
    );
    const { serial } = hold('modest');
    await issuer.sign();
    assert.ok(serial(), 'it is still waiting');
    const signed = () => many.filter((held) => held.serial() !== undefined).length;
    assert.ok(signed() < 10, `${signed()} signed before it`);
    issuer.late = false;
    while (issuer.requests.length < 501) await issuer.sign();
    await settle();
    assert.equal(signed(), 500);
  });

  it('forgets a process with much that waits for its turn', async () => {
    const { hold, issuer, rotator, clock } = rotation();
    for (let n = 0; n < 500; n++) hold('p', ask(parseSpiffeId(`spiffe://example.org/${n}`)));
    rotator.forget('p');
    for (let n = 0; n < 50; n++) await settle();
    assert.ok(issuer.requests.length < 10, `${issuer.requests.length} signed for nobody`);
    assert.deepEqual([rotator.stats().held, clock.timers], [0, 0]);
  });
});
