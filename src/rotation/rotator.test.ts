import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settle } from '../../test/support/fake-clock.ts';
import { API, WEB } from '../../test/support/identities.ts';
import { ask, broken, HOUR, rotation } from '../../test/support/rotation.ts';

describe('createRotator()', () => {
  it('signs nothing while nobody asks', async () => {
    const { clock, issuer, rotator } = rotation();
    await clock.advance(HOUR);
    assert.deepEqual([issuer.requests.length, rotator.stats().held, clock.timers], [0, 0, 0]);
  });

  it('signs once for all users of one process and identity, and tells each', async () => {
    const { issuer, hold } = rotation();
    const users = Array.from({ length: 10 }, () => hold());
    await settle();
    assert.equal(issuer.requests.length, 1);
    for (const { seen } of users) assert.deepEqual(seen, ['1']);
    assert.equal(hold().serial(), '1');
  });

  it('never shares an SVID between processes, identities or requests that differ', async () => {
    const { issuer, hold } = rotation();
    const all = [
      hold('p'),
      hold('q'),
      hold('p', ask(API)),
      hold('p', ask(WEB, { ttlMs: 60_000 })),
      hold('p', ask(WEB, { dnsNames: ['web.internal'] })),
    ];
    await settle();
    assert.equal(issuer.requests.length, all.length);
    assert.equal(new Set(all.map(({ serial }) => serial())).size, all.length);
  });

  it('renews at its share of the life and says when that was due', async () => {
    const { clock, hold, draws } = rotation({ jitter: 0.1 });
    const { seen, current } = hold();
    await settle();
    const first = current();
    // 0.5 * (1 + 0.1 * (2 * 0.25 - 1)) of an hour.
    assert.equal((first?.renewAtMs ?? 0) - clock.now(), 0.475 * HOUR);
    assert.equal(first?.dueAtMs, undefined);
    await clock.advance(0.475 * HOUR - 1);
    assert.deepEqual(seen, ['1']);
    await clock.advance(1);
    assert.deepEqual(seen, ['1', '2']);
    assert.equal(current()?.dueAtMs, first?.renewAtMs);
    assert.equal(draws.length, 2);
  });

  it('says each SVID in the log once, at debug', async () => {
    const { hold, log } = rotation();
    const held = hold();
    await settle();
    const { svid, renewAtMs = 0 } = held.current() ?? {};
    assert.ok(svid);
    const not_after = new Date(svid.notAfterMs);
    const fields = { spiffe_id: WEB, serial: '1', not_after, refresh_at: new Date(renewAtMs) };
    assert.deepEqual(log.lines, [{ level: 'debug', message: 'SVID minted', fields }]);
  });

  it('renews on and on', async () => {
    const { clock, hold, issuer } = rotation();
    const { serial } = hold();
    await clock.advance(10 * HOUR);
    assert.equal(issuer.requests.length, 21);
    assert.equal(serial(), '21');
  });

  it('goes on when one of the users fails', async () => {
    const { hold, rotator, log, issuer, clock } = rotation();
    rotator.hold('p', ask(), () => {
      throw new Error('broken');
    });
    const { seen } = hold();
    await settle();
    assert.deepEqual([seen, log.count('error', 'user of an SVID')], [['1'], 1]);
    await clock.advance(0.5 * HOUR);
    assert.equal(issuer.requests.length, 2);
  });

  it('counts what it holds', async () => {
    const { hold, rotator, issuer, clock } = rotation();
    assert.deepEqual(rotator.stats(), { held: 0, due: 0, earliestNotAfterMs: undefined });
    hold();
    hold('p', ask(API, { ttlMs: 60_000 }));
    await settle();
    const end = clock.now() + 60_000;
    assert.deepEqual(rotator.stats(), { held: 2, due: 0, earliestNotAfterMs: end });
    issuer.fault = broken;
    await clock.advance(31_000);
    assert.equal(rotator.stats().due, 1);
  });

  it('stops signing and forgets everything when it is closed', async () => {
    const { hold, rotator, issuer, clock } = rotation();
    issuer.late = true;
    const { seen } = hold();
    rotator.close();
    assert.deepEqual(
      issuer.signals.map(({ aborted }) => aborted),
      [true],
    );
    hold();
    await issuer.sign();
    await clock.advance(HOUR);
    assert.deepEqual([seen, rotator.stats().held, clock.timers], [[], 0, 0]);
  });
});
