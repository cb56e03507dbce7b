import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settle } from '../../test/support/fake-clock.ts';
import { API, WEB } from '../../test/support/identities.ts';
import { ask, broken, HOUR, rotation } from '../../test/support/rotation.ts';

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));
const isOld = (authorityId: string) => authorityId === 'aa';

describe('reissue()', () => {
  it('signs anew what these authorities have signed, and nothing else', async () => {
    const { hold, issuer, rotator } = rotation();
    const [old, other] = [hold('p'), hold('q')];
    await settle();
    issuer.authorityId = 'bb';
    const fresh = hold('r');
    await settle();
    assert.equal(rotator.reissue(isOld), 2);
    await settle();
    assert.deepEqual([old.seen, other.seen, fresh.seen], [['1', '4'], ['2', '5'], ['3']]);
    assert.equal(rotator.reissue(isOld), 0);
    assert.equal(issuer.requests.length, 5);
  });

  it('keeps the old one while none can be signed, and tries again until one is', async () => {
    const { clock, hold, issuer, rotator } = rotation();
    const { serial, failure } = hold();
    await settle();
    issuer.fault = broken;
    rotator.reissue(isOld);
    await clock.advance(60_000);
    assert.deepEqual([serial(), failure(), rotator.stats().due], ['1', broken, 1]);
    assert.ok(issuer.requests.length > 3, `${issuer.requests.length} attempts`);
    issuer.fault = undefined;
    issuer.authorityId = 'bb';
    await clock.advance(30_000);
    assert.notEqual(serial(), '1');
    assert.deepEqual([rotator.stats().due, rotator.signedBy(isOld)], [0, []]);
  });

  it('says when that was due, and plans the new one by its own life', async () => {
    const { clock, hold, rotator } = rotation();
    const { current } = hold();
    await clock.advance(0.25 * HOUR);
    const askedAtMs = clock.now();
    rotator.reissue(isOld);
    await settle();
    assert.equal(current()?.dueAtMs, askedAtMs);
    assert.equal(current()?.renewAtMs, askedAtMs + 0.5 * HOUR);
  });

  it('signs anew what was being signed by one of them meanwhile, once', async () => {
    const { hold, issuer, rotator } = rotation();
    issuer.late = true;
    const { seen } = hold();
    assert.equal(rotator.reissue(isOld), 1);
    assert.deepEqual(rotator.signedBy(isOld).length, 1);
    issuer.late = false;
    issuer.authorityId = 'bb';
    await issuer.sign();
    assert.deepEqual([seen, issuer.requests.length], [['1', '2'], 2]);
    assert.deepEqual(rotator.signedBy(isOld), []);
  });

  it('does not sign twice what was being signed by another one', async () => {
    const { hold, issuer, rotator } = rotation();
    issuer.late = true;
    issuer.authorityId = 'bb';
    const { seen } = hold();
    rotator.reissue(isOld);
    await issuer.sign();
    assert.deepEqual([seen, issuer.requests.length], [['1'], 1]);
  });

  it('renews what nobody uses when somebody asks for it, not before', async () => {
    const { hold, issuer, rotator } = rotation();
    hold().release();
    await settle();
    rotator.reissue(isOld);
    await settle();
    assert.equal(issuer.requests.length, 1);
    const { seen, serial } = hold();
    // The old one is better than none until the new one is there.
    assert.equal(serial(), '1');
    await settle();
    assert.deepEqual(seen, ['2']);
  });

  it('tells which SVIDs hang on them', async () => {
    const { hold, issuer, rotator } = rotation();
    hold('p');
    hold('q', ask(API));
    await settle();
    issuer.authorityId = 'bb';
    hold('p', ask(WEB, { ttlMs: 60_000 }));
    await settle();
    assert.deepEqual(rotator.signedBy(isOld), ['1', '2']);
    assert.deepEqual(
      rotator.signedBy((id) => id === 'bb'),
      ['3'],
    );
  });

  it('goes in slices over all holders, and lets a newcomer be signed for at once', async () => {
    const { hold, issuer, rotator } = rotation();
    for (let n = 0; n < 1000; n++) hold(`p${n}`);
    await settle();
    const signed = () => issuer.requests.length;
    assert.equal(signed(), 1000);
    assert.equal(rotator.reissue(isOld), 1000);
    let [turns, most] = [0, 0];
    for (let before = signed(); signed() < 2000; before = signed()) {
      await nextTurn();
      most = Math.max(most, signed() - before);
      turns++;
      if (turns !== 3) continue;
      const newcomer = hold('newcomer', ask(API));
      await Promise.resolve();
      assert.equal(issuer.requests.at(-1)?.id, API);
      newcomer.release();
    }
    assert.ok(most <= 16, `${most} in one turn of the event loop`);
    assert.ok(turns >= 1000 / 16, `${turns} turns`);
  });

  it('lets holders take turns: one with many does not keep the others waiting', async () => {
    const { hold, issuer, rotator } = rotation();
    for (let n = 0; n < 500; n++) hold('greedy', ask(WEB, { ttlMs: 60_000 + n }));
    while (issuer.requests.length < 500) await nextTurn();
    hold('other', ask(API));
    await settle();
    issuer.requests.length = 0;
    rotator.reissue(isOld);
    await nextTurn();
    assert.ok(issuer.requests.slice(0, 8).some(({ id }) => id === API));
  });
});
