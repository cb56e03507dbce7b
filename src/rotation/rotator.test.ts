import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { API, fakeSvid, WEB } from '../../test/support/identities.ts';
import { FakeLogger } from '../../test/support/issuer.ts';
import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { createSchedule } from '../core/schedule.ts';
import { parseSpiffeId, type SpiffeId } from '../identity/spiffe-id.ts';
import type { X509Svid } from '../identity/svid.ts';
import type { SvidIssuer, SvidRequest } from './minter.ts';
import { createRotator } from './rotator.ts';

const HOUR = 3_600_000;
const ask = (id: SpiffeId = WEB, more: Partial<SvidRequest> = {}): SvidRequest => ({
  id,
  ttlMs: undefined,
  dnsNames: [],
  ...more,
});

/** Signs at once, late, never, or wrongly, and remembers what it was asked for. */
class FakeIssuer implements SvidIssuer {
  readonly requests: SvidRequest[] = [];
  fault: Error | undefined;
  /** Makes the signing wait until `sign`. */
  late = false;
  /** Of each request, in order. */
  readonly signals: AbortSignal[] = [];
  #waiting: (() => void)[] = [];
  readonly #clock: Pick<Clock, 'now'>;

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  async mint(request: SvidRequest, { signal }: { signal: AbortSignal }): Promise<X509Svid> {
    this.requests.push(request);
    this.signals.push(signal);
    const serial = `${this.requests.length}`;
    if (this.late) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.fault) throw this.fault;
    const ttlMs = request.ttlMs ?? HOUR;
    return fakeSvid(request.id, { serial, issuedAtMs: this.#clock.now(), ttlMs });
  }

  async sign(): Promise<void> {
    for (const resolve of this.#waiting.splice(0)) resolve();
    await settle();
  }
}

function rotation({ jitter = 0, fraction = 0.5 } = {}) {
  const clock = new FakeClock();
  let stepMs = 0;
  // A machine's timers count on when its wall clock is set back.
  const wall: Clock = {
    now: () => clock.now() + stepMs,
    monotonic: () => clock.monotonic(),
    after: (delayMs, fn) => clock.after(delayMs, fn),
  };
  const setBack = (ms: number) => (stepMs -= ms);
  const issuer = new FakeIssuer(wall);
  const log = new FakeLogger();
  const draws: number[] = [];
  const random = {
    unit: () => {
      draws.push(0.25);
      return 0.25;
    },
    bytes: (length: number) => Buffer.alloc(length),
  };
  const schedule = createSchedule(wall);
  const deps = { issuer, clock: wall, random, schedule, log };
  const rotator = createRotator({ fraction, jitter }, deps);
  const hold = (holder = 'p', request = ask()) => {
    const seen: (string | undefined)[] = [];
    const holding = rotator.hold(holder, request, () => seen.push(holding.current()?.svid.serial));
    return {
      seen,
      current: () => holding.current(),
      failure: () => holding.failure(),
      release: () => holding.release(),
      serial: () => holding.current()?.svid.serial,
    };
  };
  return { clock, setBack, issuer, log, draws, rotator, hold };
}

const broken = new IdentityError('ERR_ISSUER', 'no CA');

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

  it('renews soon after the clock jumped past the point', async () => {
    const { hold, clock } = rotation();
    const { seen } = hold();
    await settle();
    clock.jump(0.6 * HOUR);
    await clock.advance(30_000);
    assert.deepEqual(seen, ['1', '2']);
  });

  it('has nothing to give when the clock jumped past the end, until it signed anew', async () => {
    const { hold, clock } = rotation();
    const { serial } = hold();
    await settle();
    clock.jump(2 * HOUR);
    assert.equal(serial(), undefined);
    await clock.advance(30_000);
    assert.equal(serial(), '2');
  });

  it('signs anew at once for who asks after a jump', async () => {
    const { hold, clock } = rotation();
    hold();
    await settle();
    clock.jump(2 * HOUR);
    const { serial } = hold();
    await settle();
    assert.equal(serial(), '2');
  });

  it('gives nothing that is not valid yet after the clock was set back, and signs anew', async () => {
    const { hold, clock, setBack, rotator } = rotation();
    const { seen, serial } = hold();
    await settle();
    setBack(2 * HOUR);
    assert.deepEqual([serial(), rotator.stats().due], [undefined, 1]);
    await clock.advance(30_000);
    assert.deepEqual([seen, serial(), rotator.stats().due], [['1', '2'], '2', 0]);
    await clock.advance(0.5 * HOUR);
    assert.equal(serial(), '3');
  });

  it('signs anew at once for who asks after the clock was set back', async () => {
    const { hold, setBack } = rotation();
    hold();
    await settle();
    setBack(2 * HOUR);
    const { serial } = hold();
    await settle();
    assert.equal(serial(), '2');
  });

  it('keeps what is still valid when the clock is set back a little', async () => {
    const { hold, clock, setBack, issuer } = rotation();
    const { serial } = hold();
    await clock.advance(0.25 * HOUR);
    setBack(0.2 * HOUR);
    await clock.advance(60_000);
    assert.deepEqual([serial(), issuer.requests.length], ['1', 1]);
  });

  it('retries after a failure before which the clock was ahead', async () => {
    const { hold, clock, setBack, issuer } = rotation();
    issuer.fault = broken;
    const { serial } = hold();
    await settle();
    setBack(2 * HOUR);
    issuer.fault = undefined;
    await clock.advance(30_000);
    assert.equal(serial(), '2');
  });

  it('drops what nobody holds in time, though the clock was set back', async () => {
    const { hold, clock, setBack, rotator } = rotation();
    const { release } = hold();
    await clock.advance(0.25 * HOUR);
    release();
    setBack(0.2 * HOUR);
    await clock.advance(90_000);
    assert.deepEqual([rotator.stats().held, clock.timers], [0, 0]);
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
