import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { FakeUpstream, makeRoot } from '../../test/support/authorities.ts';
import { authorityWorld, idOf, signer, slots } from '../../test/support/authority-world.ts';
import { DAY_MS, HOUR_MS } from '../../test/support/issuer.ts';

const MINUTE_MS = 60_000;
const EXACT = { prepareLeft: 0.5, activateLeft: 0.1667, jitter: 0, ackTimeoutMs: 300_000 };
const exactly = (t: TestContext) => authorityWorld(t, { caRotation: EXACT });

async function elsewhere(t: TestContext, options: { tells?: boolean } = {}) {
  const world = authorityWorld(t, { caRotation: EXACT });
  const root = await makeRoot(world.clock, 365 * DAY_MS);
  const upstream = new FakeUpstream(world.clock, root, options);
  if (options.tells) upstream.tell([root]);
  return { ...world, root, upstream };
}

describe('the rotation of a CA', () => {
  it('prepares at half of its life and activates at a sixth left, the old one kept', async (t) => {
    const { open, pass } = exactly(t);
    const source = await open();
    const first = signer(source);
    await pass(12 * HOUR_MS - 20 * MINUTE_MS);
    assert.deepEqual(
      source.authorities().map(({ slot }) => slot),
      ['root', 'active'],
    );
    await pass(30 * MINUTE_MS);
    assert.deepEqual(
      source.authorities().map(({ slot }) => slot),
      ['root', 'active', 'prepared'],
    );
    const next = idOf(source, 'prepared');
    assert.equal(signer(source), first);
    await pass(7 * HOUR_MS + 30 * MINUTE_MS);
    assert.equal(signer(source), first);
    await pass(30 * MINUTE_MS);
    assert.equal(signer(source), next);
    assert.equal(idOf(source, 'kept'), first);
    // SVIDs live an hour.
    await pass(HOUR_MS + 20 * MINUTE_MS);
    assert.deepEqual(
      source.authorities().map(({ slot }) => slot),
      ['root', 'active'],
    );
  });

  it('takes the same turns after a restart, whatever its jitter', async (t) => {
    const { open, pass, clock } = authorityWorld(t, { caRotation: { ...EXACT, jitter: 0.5 } });
    const times = async (restart: boolean) => {
      let source = await open();
      const current = signer(source);
      while (idOf(source, 'prepared') === 'none') {
        await pass(10 * MINUTE_MS);
        if (!restart) continue;
        source.close();
        source = await open();
      }
      const at =
        clock.now() -
        (source.authorities().find(({ slot }) => slot === 'active')?.notBeforeMs ?? 0);
      assert.equal(signer(source), current);
      source.close();
      return at;
    };
    const at = await times(true);
    assert.ok(at > 6 * HOUR_MS && at < 18 * HOUR_MS + HOUR_MS, `${at}`);
  });

  it('rotates the root: published at half, asked for CAs at a sixth left, gone with its SVIDs', async (t) => {
    const { open, pass } = authorityWorld(t, { caRotation: EXACT, rootTtlMs: 12 * DAY_MS });
    const source = await open();
    const first = idOf(source, 'root');
    await pass(6 * DAY_MS + HOUR_MS, HOUR_MS);
    const next = idOf(source, 'root_prepared');
    assert.equal(source.bundle().x509Authorities.length, 2);
    const rootOfSigner = () => source.authorities().find(({ slot }) => slot === 'active')?.rootId;
    await pass(4 * DAY_MS - 2 * HOUR_MS, HOUR_MS);
    assert.equal(rootOfSigner(), first);
    await pass(DAY_MS, HOUR_MS);
    assert.equal(idOf(source, 'root'), next);
    assert.equal(rootOfSigner(), next);
    assert.equal(source.bundle().x509Authorities.length, 1);
  });

  it('waits for proxies that are behind, no longer than told, and says so', async (t) => {
    const { open, pass, readers, log } = exactly(t);
    const source = await open();
    const first = signer(source);
    readers.become(2);
    await pass(20 * HOUR_MS);
    assert.equal(signer(source), first);
    await pass(4 * MINUTE_MS, MINUTE_MS);
    assert.equal(signer(source), first);
    assert.equal(log.count('warn', 'have not acknowledged'), 0);
    await pass(2 * MINUTE_MS, MINUTE_MS);
    assert.notEqual(signer(source), first);
    assert.equal(log.count('warn', 'have not acknowledged'), 1);
  });

  it('goes on as soon as the last proxy has acknowledged', async (t) => {
    const { open, pass, readers, idle } = exactly(t);
    const source = await open();
    const first = signer(source);
    readers.become(1);
    await pass(20 * HOUR_MS + MINUTE_MS);
    assert.equal(signer(source), first);
    readers.become(0);
    await idle();
    assert.notEqual(signer(source), first);
  });

  it('waits no longer than half of what is left of the CA', async (t) => {
    const { open, pass, readers } = authorityWorld(t, {
      ...{ caRotation: EXACT, caTtlMs: 60_000, x509SvidTtlMs: 20_000 },
    });
    const source = await open();
    const first = signer(source);
    readers.become(1);
    await pass(54_000, 500);
    assert.equal(signer(source), first);
    await pass(4000, 500);
    assert.notEqual(signer(source), first);
  });

  it('leaves the old CA signing when the clock is set back, and nothing is lost', async (t) => {
    const { open, pass, clock, disk } = exactly(t);
    const source = await open();
    const first = signer(source);
    await pass(12 * HOUR_MS + 10 * MINUTE_MS);
    await pass(8 * HOUR_MS);
    const second = signer(source);
    assert.notEqual(second, first);
    clock.turn(-9 * HOUR_MS);
    assert.equal(signer(source), first);
    const { text } = disk;
    await pass(30 * MINUTE_MS);
    assert.equal(signer(source), first);
    assert.equal(disk.text, text);
    clock.turn(9 * HOUR_MS);
    assert.equal(signer(source), second);
  });

  it('forgets nothing when the clock is an hour ahead for a while', async (t) => {
    const { open, pass, clock } = authorityWorld(t, { caRotation: EXACT, caTtlMs: HOUR_MS });
    const source = await open();
    const root = idOf(source, 'root');
    const first = signer(source);
    clock.turn(2 * HOUR_MS);
    await source.usable({});
    assert.notEqual(signer(source), first);
    await pass(10 * MINUTE_MS, MINUTE_MS);
    clock.turn(-2 * HOUR_MS);
    assert.equal(signer(source), first);
    assert.equal(idOf(source, 'root'), root);
  });

  it('makes a new root when the old one has ended with nobody there to follow it up', async (t) => {
    const { open, clock } = exactly(t);
    const source = await open();
    const [before, { sequence }] = [idOf(source, 'root'), source.bundle()];
    source.close();
    clock.jump(400 * DAY_MS);
    const again = await open();
    assert.notEqual(idOf(again, 'root'), before);
    assert.ok(again.bundle().sequence > sequence);
    assert.notEqual(signer(again), 'nobody');
  });

  it('starts when the CA and the one that was prepared have both just ended', async (t) => {
    const { open, pass, clock } = exactly(t);
    const source = await open();
    // Prepared at half of its life, it ends half a day after the one in use.
    await pass(13 * HOUR_MS);
    assert.ok(slots(source).some((one) => one.startsWith('prepared')));
    const ends = source
      .authorities()
      .map(({ level, notAfterMs }) => (level === 'root' ? 0 : notAfterMs));
    source.close();
    // Within the time in which a clock is not believed that something is over.
    clock.jump(Math.max(...ends) - clock.now() + 10 * MINUTE_MS);
    const again = await open();
    assert.notEqual(signer(again), 'nobody');
  });

  it('leaves no timer and changes nothing after close', async (t) => {
    const { open, clock, disk } = exactly(t);
    const source = await open();
    source.close();
    assert.equal(clock.timers, 0);
    const { text } = disk;
    clock.jump(2 * DAY_MS);
    await assert.rejects(source.usable({}), { code: 'ERR_SHUTDOWN' });
    assert.equal(disk.text, text);
  });
});

describe('the life that SVIDs may have', () => {
  it('is in the journal before a longer one than ever is signed', async (t) => {
    const { open, disk } = exactly(t);
    const source = await open();
    assert.equal(source.asked(3 * HOUR_MS), 3 * HOUR_MS);
    assert.equal(disk.read()?.longestTtlMs, 3 * HOUR_MS);
    disk.full = 'no space';
    assert.equal(source.asked(5 * HOUR_MS), 3 * HOUR_MS);
    assert.equal(source.asked(HOUR_MS), HOUR_MS);
  });
});

describe('an authority elsewhere', () => {
  it('signs the CAs, and its roots are the bundle', async (t) => {
    const { open, upstream, root } = await elsewhere(t);
    const source = await open({ upstream });
    assert.ok(
      Buffer.from(source.bundle().x509Authorities[0]?.der ?? []).equals(root.certificate.der),
    );
    assert.equal(source.authorities().find(({ slot }) => slot === 'root')?.keyType, undefined);
    assert.equal(source.upstream()?.lastError, undefined);
    source.close();
    assert.ok(upstream.closed);
  });

  it('is not needed by a restart with a CA that is valid', async (t) => {
    const { open, upstream } = await elsewhere(t);
    const before = await open({ upstream });
    before.close();
    upstream.away = 'gone';
    const source = await open({ upstream });
    assert.equal(signer(source), signer(before));
    assert.equal(upstream.asked, 1);
  });

  it('may be away: the CA signs to its end, said early and loudly, and all is well by itself', async (t) => {
    const { open, upstream, pass, log } = await elsewhere(t);
    const source = await open({ upstream });
    const first = signer(source);
    upstream.away = 'nobody answers';
    await pass(13 * HOUR_MS);
    assert.equal(log.count('warn', 'the old one is valid'), 1);
    const status = source.upstream();
    assert.equal(status?.lastError, 'nobody answers');
    assert.ok((status.nextTryMs ?? 0) > (status.lastErrorAtMs ?? 0));
    await pass(11 * HOUR_MS - 10 * MINUTE_MS);
    assert.equal(signer(source), first);
    const said = log.count('warn', 'the old one is valid');
    assert.ok(said >= 4 && said < 20, `${said} warnings`);
    await pass(20 * MINUTE_MS, MINUTE_MS);
    assert.equal(signer(source), 'nobody');
    const errors = log.count('error', 'no valid issuing CA');
    assert.ok(errors >= 5 && errors < 20, `${errors} errors`);
    await assert.rejects(source.usable({}), { code: 'ERR_ISSUER', message: 'nobody answers' });
    upstream.away = undefined;
    await pass(6000, 1000);
    assert.notEqual(signer(source), 'nobody');
    assert.equal(source.upstream()?.lastError, undefined);
  });

  it('is waited for by the first start, which says why, until it is there', async (t) => {
    const { open, upstream, idle, pass, log } = await elsewhere(t);
    upstream.away = 'sealed';
    const reasons: string[] = [];
    const waiting = (reason: string) => {
      reasons.push(reason);
      return () => void reasons.pop();
    };
    const opening = open({ upstream, waiting });
    await idle();
    await pass(30_000, 1000);
    assert.deepEqual(reasons, ['no CA from fake https://ca.example yet: sealed']);
    assert.equal(log.count('warn', 'nothing can be signed before there is a CA'), 1);
    upstream.away = undefined;
    await pass(6000, 1000);
    assert.notEqual(signer(await opening), 'nobody');
    assert.deepEqual(reasons, []);
  });

  it('is waited for no longer than the signal lasts', async (t) => {
    const { open, upstream, idle } = await elsewhere(t);
    upstream.away = 'sealed';
    const abort = new AbortController();
    const opening = open({ upstream, signal: abort.signal });
    await idle();
    abort.abort(new Error('stopped'));
    await assert.rejects(opening, /stopped/);
    assert.ok(upstream.closed);
  });

  it('is not waited for when the own store is no good', async (t) => {
    const { open, upstream, disk } = await elsewhere(t);
    disk.text = '{';
    await assert.rejects(open({ upstream }), { code: 'ERR_KEY_STORE' });
  });

  it('with a new root is waited with until other nodes know it', async (t) => {
    const { open, upstream, pass, clock } = await elsewhere(t);
    const source = await open({ upstream });
    await pass(11 * HOUR_MS);
    const first = signer(source);
    upstream.root = await makeRoot(clock, 365 * DAY_MS);
    await pass(2 * HOUR_MS);
    assert.equal(source.bundle().x509Authorities.length, 2);
    await pass(7 * HOUR_MS + 20 * MINUTE_MS);
    assert.notEqual(signer(source), first);
    // For what other nodes may sign meanwhile, and what lives until then.
    await pass(HOUR_MS + 2 * MINUTE_MS);
    await pass(20 * MINUTE_MS);
    assert.equal(source.bundle().x509Authorities.length, 1);
  });

  it('that tells of roots has them in the bundle at once, and those it tells of no more in time', async (t) => {
    const { open, upstream, root, clock, idle, pass } = await elsewhere(t, { tells: true });
    const source = await open({ upstream });
    const other = await makeRoot(clock, 365 * DAY_MS);
    const { sequence } = source.bundle();
    upstream.tell([root, other]);
    await idle();
    assert.equal(source.bundle().x509Authorities.length, 2);
    assert.equal(source.bundle().sequence, sequence + 1);
    upstream.tell([root]);
    await idle();
    assert.equal(source.bundle().x509Authorities.length, 2);
    await pass(HOUR_MS + 10 * MINUTE_MS, MINUTE_MS);
    assert.equal(source.bundle().x509Authorities.length, 1);
  });

  it('that tells nonsense changes nothing', async (t) => {
    const { open, upstream, root, idle, log } = await elsewhere(t, { tells: true });
    const source = await open({ upstream });
    const before = source.bundle();
    const der = Buffer.from('nonsense');
    upstream.tell([root, { ...root, certificate: { ...root.certificate, der } }]);
    upstream.tell([]);
    await idle();
    assert.equal(source.bundle(), before);
    assert.ok(log.count('warn', 'are not taken') >= 1);
  });
});

describe('a change of what signs the CAs', () => {
  it('from a root of our own leaves that signing until the new CA may', async (t) => {
    const { open, upstream, pass, readers, idle } = await elsewhere(t);
    const own = await open();
    const [before, root] = [signer(own), idOf(own, 'root')];
    own.close();
    readers.become(1);
    const source = await open({ upstream });
    await idle();
    assert.equal(signer(source), before);
    assert.equal(source.bundle().x509Authorities.length, 2);
    readers.become(0);
    await pass(3 * MINUTE_MS, 10_000);
    assert.notEqual(signer(source), before);
    assert.ok(slots(source).includes(`kept ${root.slice(0, 8)}`));
    await pass(HOUR_MS + 10 * MINUTE_MS, MINUTE_MS);
    assert.equal(source.bundle().x509Authorities.length, 1);
  });

  it('and back makes another root, and lets the CA from elsewhere sign until it is known', async (t) => {
    const { open, upstream, pass, readers, idle } = await elsewhere(t);
    const first = await open({ upstream });
    const before = signer(first);
    first.close();
    readers.become(1);
    const source = await open();
    await idle();
    assert.equal(signer(source), before);
    assert.equal(source.bundle().x509Authorities.length, 2);
    readers.become(0);
    await pass(MINUTE_MS, 1000);
    assert.notEqual(signer(source), before);
    await pass(2 * HOUR_MS);
    assert.equal(source.bundle().x509Authorities.length, 1);
    assert.equal(source.authorities().find(({ slot }) => slot === 'root')?.keyType, 'ec-p256');
  });

  it('finds an upstream that is away without losing anything', async (t) => {
    const { open, upstream, pass } = await elsewhere(t);
    const own = await open();
    own.close();
    upstream.away = 'not yet';
    const source = await open({ upstream });
    assert.equal(signer(source), signer(own));
    await pass(HOUR_MS);
    assert.equal(signer(source), signer(own));
    upstream.away = undefined;
    await pass(20 * MINUTE_MS);
    assert.notEqual(signer(source), signer(own));
  });
});
