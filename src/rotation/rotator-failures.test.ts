import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settle } from '../../test/support/fake-clock.ts';
import { API, WEB } from '../../test/support/identities.ts';
import { ask, broken, HOUR, rotation } from '../../test/support/rotation.ts';

describe('createRotator() with an issuer that fails', () => {
  it('keeps the valid SVID while its renewal fails, and retries until it works', async () => {
    const { clock, hold, issuer, log } = rotation();
    const { seen, serial, failure } = hold();
    await settle();
    issuer.fault = broken;
    await clock.advance(0.75 * HOUR);
    assert.deepEqual([seen, serial(), failure()], [['1'], '1', broken]);
    assert.ok(issuer.requests.length > 20, `${issuer.requests.length} attempts`);
    assert.ok(issuer.requests.length < 100, `${issuer.requests.length} attempts`);
    assert.equal(log.count('warn', ''), 0);
    assert.ok(log.count('info', 'still valid') > 0);
    issuer.fault = undefined;
    await clock.advance(30_000);
    assert.equal(failure(), undefined);
    assert.equal(seen.length, 2);
  });

  it('has nothing to give once the SVID ran out, says so, and recovers', async () => {
    const { clock, hold, issuer, log } = rotation();
    const { seen, serial } = hold();
    await settle();
    issuer.fault = broken;
    await clock.advance(HOUR - 1);
    assert.equal(serial(), '1');
    await clock.advance(1);
    assert.equal(serial(), undefined);
    await clock.advance(60_000);
    assert.equal(seen.at(-1), undefined);
    assert.ok(log.count('warn', 'no valid SVID') > 0);
    issuer.fault = undefined;
    await clock.advance(30_000);
    assert.ok(serial());
  });

  it('warns once of a workload without a valid SVID, and says once that it has one', async () => {
    const { clock, hold, issuer, log } = rotation();
    const levels = () => log.lines.map(({ level }) => level);
    issuer.fault = broken;
    hold();
    await clock.advance(60_000);
    assert.ok(issuer.requests.length > 5, `${issuer.requests.length} attempts`);
    const repeats = issuer.requests.slice(1).map(() => 'debug');
    assert.deepEqual(levels(), ['warn', ...repeats]);
    log.lines.length = 0;
    issuer.fault = undefined;
    await clock.advance(30_000);
    assert.deepEqual(levels(), ['info']);
    log.lines.length = 0;
    await clock.advance(0.5 * HOUR);
    assert.deepEqual(levels(), ['debug']);
  });

  it('warns anew of each SVID that runs out', async () => {
    const { clock, hold, issuer, log } = rotation();
    hold();
    for (let n = 1; n <= 3; n++) {
      issuer.fault = undefined;
      await clock.advance(30_000);
      issuer.fault = broken;
      await clock.advance(2 * HOUR);
      assert.equal(log.count('warn', 'no valid SVID'), n);
    }
  });

  it('retries before the end, however short the life', async () => {
    const { clock, hold, issuer } = rotation();
    const { serial } = hold('p', ask(WEB, { ttlMs: 8000 }));
    await settle();
    issuer.fault = broken;
    await clock.advance(7000);
    const attempts = issuer.requests.length;
    assert.ok(attempts >= 5, `${attempts} attempts`);
    issuer.fault = undefined;
    await clock.advance(999);
    assert.notEqual(serial(), '1');
  });

  it('waits out the backoff whoever asks meanwhile', async () => {
    const { hold, issuer } = rotation();
    issuer.fault = broken;
    for (let n = 0; n < 50; n++) {
      const { release } = hold();
      await settle();
      release();
    }
    assert.equal(issuer.requests.length, 1);
  });

  it('tells a newcomer of the failure that goes on', async () => {
    const { hold, issuer, clock } = rotation();
    issuer.fault = broken;
    hold();
    await settle();
    assert.equal(hold().failure(), broken);
    issuer.fault = undefined;
    await clock.advance(1000);
    assert.equal(hold().serial(), '2');
  });

  it('refuses an SVID for another identity, one that has run out or one of the future', async () => {
    const { hold, issuer, clock } = rotation();
    const mint = issuer.mint.bind(issuer);
    issuer.mint = async (request, options) => ({ ...(await mint(request, options)), id: API });
    const { serial, failure } = hold();
    await settle();
    assert.deepEqual([serial(), failure()?.code], [undefined, 'ERR_BUG']);
    issuer.mint = async (request, options) => ({
      ...(await mint(request, options)),
      notAfterMs: clock.now(),
    });
    await clock.advance(60_000);
    assert.deepEqual([serial(), failure()?.code], [undefined, 'ERR_ISSUER']);
    issuer.mint = async (request, options) => ({
      ...(await mint(request, options)),
      notBeforeMs: clock.now() + 1,
    });
    await clock.advance(60_000);
    assert.deepEqual([serial(), failure()?.code], [undefined, 'ERR_ISSUER']);
    assert.ok(issuer.requests.length < 30, `${issuer.requests.length} attempts`);
  });
});
