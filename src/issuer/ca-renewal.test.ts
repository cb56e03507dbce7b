import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { DAY_MS, FakeLogger, HOUR_MS, issuerDeps } from '../../test/support/issuer.ts';
import { eventually } from '../../test/support/eventually.ts';
import type { FakeClock } from '../../test/support/fake-clock.ts';
import { seededRandom } from '../../test/support/fake-random.ts';
import { IdentityError } from '../core/errors.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { openAuthorities, type Authorities } from './authorities.ts';
import { createCaRenewal, renewalTime } from './ca-renewal.ts';
import { openStore, type AuthorityStore } from './store.ts';

/** Time passes, and the replacement that falls due in it is made. */
async function pass(clock: FakeClock, authorities: Authorities, ms: number): Promise<void> {
  const before = authorities.issuing();
  await clock.advance(ms);
  // Keys and signatures come from other threads, which take their own time.
  await eventually(
    async () => {
      await clock.advance(0);
      return authorities.issuing() !== before;
    },
    { what: 'the replacement' },
  );
}

interface Setup {
  rootTtlMs?: number;
  caTtlMs?: number;
}

async function setUp(t: TestContext, { rootTtlMs = 365 * DAY_MS, caTtlMs = DAY_MS }: Setup = {}) {
  const deps = { ...issuerDeps(Date.UTC(2030, 0, 1)), random: seededRandom('renewal') };
  const memory = openStore('memory', '');
  let broken: IdentityError | undefined;
  let attempts = 0;
  const store: AuthorityStore = {
    ...memory,
    keys: {
      ...memory.keys,
      generate(type) {
        attempts++;
        return broken ? Promise.reject(broken) : memory.keys.generate(type);
      },
    },
  };
  const config = {
    trustDomain: parseTrustDomain('example.org'),
    caKeyType: 'ec-p256' as const,
    caTtlMs,
    rootTtlMs,
  };
  const authorities = await openAuthorities(store, config, deps);
  const renewal = createCaRenewal(authorities, caTtlMs, deps);
  t.after(() => renewal.close());
  return {
    ...deps,
    log: deps.log satisfies FakeLogger,
    authorities,
    renewal,
    attempts: () => attempts,
    breakStore: () => (broken = new IdentityError('ERR_DISK', 'no space')),
    mendStore: () => (broken = undefined),
  };
}

describe('renewalTime()', () => {
  const root = { notBeforeMs: 0, notAfterMs: 1000 };
  it('is half-way through the life of the issuing CA', () => {
    assert.equal(renewalTime({ notBeforeMs: 0, notAfterMs: 100 }, root, 100), 50);
  });

  it('is never when the root ends with it, so that lives do not halve without end', () => {
    assert.equal(renewalTime({ notBeforeMs: 900, notAfterMs: 1000 }, root, 100), undefined);
    assert.equal(renewalTime({ notBeforeMs: 880, notAfterMs: 980 }, root, 100), 930);
  });
});

describe('createCaRenewal()', () => {
  it('makes the first issuing CA once, for however many wait', async (t) => {
    const { renewal, authorities, attempts } = await setUp(t);
    assert.equal(renewal.current(), undefined);
    const all = await Promise.all(Array.from({ length: 20 }, () => renewal.usable({})));
    assert.deepEqual(new Set(all), new Set([authorities.issuing()]));
    assert.equal(attempts(), 2);
  });

  it('replaces it half-way, under the same root, for as long as the root lives', async (t) => {
    const { renewal, authorities, clock } = await setUp(t);
    const first = await renewal.usable({});
    await clock.advance(12 * HOUR_MS - 60_000);
    assert.equal(renewal.current(), first);
    const seen = new Set([first]);
    for (let day = 0; day < 10; day++) {
      await pass(clock, authorities, 12 * HOUR_MS + 60_000);
      const current = renewal.current();
      assert.ok(current);
      seen.add(current);
      const root = new X509Certificate(authorities.root.certificate.der);
      assert.ok(new X509Certificate(current.certificate.der).verify(root.publicKey));
    }
    assert.equal(seen.size, 11);
  });

  it('keeps the old one when a replacement fails, tries again with growing delays, then recovers', async (t) => {
    const { renewal, authorities, clock, log, attempts, breakStore, mendStore } = await setUp(t);
    const first = await renewal.usable({});
    breakStore();
    const before = attempts();
    await clock.advance(13 * HOUR_MS);
    assert.equal(renewal.current(), first);
    const tries = attempts() - before;
    assert.ok(tries > 5 && tries < 40, `${tries} attempts in an hour`);
    assert.equal(log.count('warn', 'the old one is valid'), tries);
    mendStore();
    await pass(clock, authorities, 300_000);
    assert.notEqual(renewal.current(), first);
  });

  it('says loudly that nothing can be signed, and does not try for every caller', async (t) => {
    const { renewal, clock, log, attempts, breakStore, mendStore } = await setUp(t);
    await renewal.usable({});
    breakStore();
    await clock.advance(25 * HOUR_MS);
    const before = attempts();
    for (let n = 0; n < 50; n++) await assert.rejects(renewal.usable({}), { code: 'ERR_DISK' });
    assert.ok(attempts() - before <= 1);
    assert.ok(log.count('error', 'no valid issuing CA') > 0);
    mendStore();
    await clock.advance(300_000);
    await renewal.usable({});
  });

  it('makes one within seconds of the store working again, once the old one has expired', async (t) => {
    const { renewal, authorities, clock, breakStore, mendStore } = await setUp(t);
    await renewal.usable({});
    breakStore();
    await clock.advance(24 * HOUR_MS + 5000);
    assert.equal(renewal.current(), undefined);
    mendStore();
    await pass(clock, authorities, 5000);
    assert.ok(renewal.current());
  });

  it('tries again when the old one expires, however long the delay had grown', async (t) => {
    const { renewal, clock, attempts, breakStore } = await setUp(t);
    await renewal.usable({});
    breakStore();
    await clock.advance(24 * HOUR_MS);
    const before = attempts();
    await clock.advance(60_000);
    const tries = attempts() - before;
    assert.ok(tries >= 12 && tries <= 25, `${tries} attempts in the minute after`);
  });

  it('does not wait out a delay that a clock turned back has made long', async (t) => {
    const { renewal, clock, breakStore, mendStore } = await setUp(t);
    breakStore();
    clock.jump(10 * DAY_MS);
    await assert.rejects(renewal.usable({}), { code: 'ERR_DISK' });
    clock.jump(-9 * DAY_MS);
    mendStore();
    await renewal.usable({});
  });

  it('replaces an issuing CA that expired while the machine slept', async (t) => {
    const { renewal, clock } = await setUp(t);
    const first = await renewal.usable({});
    clock.jump(3 * DAY_MS);
    assert.equal(renewal.current(), undefined);
    assert.notEqual(await renewal.usable({}), first);
  });

  it('ends with the root, announced in good time, daily, and says why nothing is signed', async (t) => {
    const { renewal, authorities, clock, log } = await setUp(t, { rootTtlMs: 12 * DAY_MS });
    await renewal.usable({});
    const { notAfterMs } = authorities.root.certificate.validity;
    await clock.advance(10 * DAY_MS - HOUR_MS);
    assert.equal(log.count('warn', 'root ends soon'), 0);
    await clock.advance(2 * DAY_MS);
    assert.equal(log.count('warn', 'root ends soon'), 2);
    const last = await renewal.usable({});
    assert.ok(last.certificate.validity.notAfterMs <= notAfterMs);
    await clock.advance(2 * HOUR_MS);
    assert.ok(log.count('error', 'root has expired') >= 1);
    await assert.rejects(renewal.usable({}), { code: 'ERR_ISSUER', message: /expired at/ });
  });

  it('does not replace a CA that ends with its root again and again', async (t) => {
    const { renewal, clock, attempts } = await setUp(t, { rootTtlMs: 10 * HOUR_MS });
    await renewal.usable({});
    await clock.advance(9 * HOUR_MS);
    await renewal.usable({});
    assert.equal(attempts(), 2);
  });

  it('lets a waiting caller go when its signal is aborted, and finishes the work', async (t) => {
    const { renewal, authorities } = await setUp(t);
    const abort = new AbortController();
    const waiting = renewal.usable({ signal: abort.signal });
    abort.abort(new Error('gone'));
    await assert.rejects(waiting, /gone/);
    assert.equal(await renewal.usable({}), authorities.issuing());
  });

  it('leaves no timer and changes nothing after close, in the middle of a replacement too', async (t) => {
    const { renewal, authorities, clock } = await setUp(t);
    const waiting = renewal.usable({});
    renewal.close();
    await assert.rejects(waiting, { code: 'ERR_SHUTDOWN' });
    assert.equal(authorities.issuing(), undefined);
    assert.equal(clock.timers, 0);
    await assert.rejects(renewal.usable({}), { code: 'ERR_SHUTDOWN' });
  });
});
