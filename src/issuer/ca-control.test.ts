import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { FakeUpstream, makeRoot } from '../../test/support/authorities.ts';
import { authorityWorld, idOf, signer } from '../../test/support/authority-world.ts';
import { DAY_MS, HOUR_MS } from '../../test/support/issuer.ts';
import type { AuthorityControl } from './authority-control.ts';
import type { CaSource } from './ca-source.ts';

const MINUTE_MS = 60_000;
const signal = AbortSignal.timeout(120_000);
const options = { signal, force: false };
const forced = { signal, force: true };

function controlOf(source: CaSource): AuthorityControl {
  const control = source.control();
  assert.ok(control);
  return control;
}

async function started(t: TestContext, deps: { inUse?: (ids: readonly string[]) => number } = {}) {
  const world = authorityWorld(t);
  const source = await world.open(deps);
  const tainted: string[][] = [];
  source.onTainted((ids) => tainted.push([...ids]));
  return { ...world, source, control: controlOf(source), tainted };
}

async function elsewhere(t: TestContext) {
  const world = authorityWorld(t);
  const upstream = new FakeUpstream(world.clock, await makeRoot(world.clock, 365 * DAY_MS));
  const source = await world.open({ upstream });
  return { ...world, upstream, source, control: controlOf(source) };
}

describe('prepare and activate', () => {
  it('make the next CA and let it sign, each once', async (t) => {
    const { source, control } = await started(t);
    const first = signer(source);
    const next = await control.prepare('issuing', options);
    assert.equal(await control.prepare('issuing', options), next);
    assert.equal(signer(source), first);
    assert.equal(await control.activate('issuing', options), next);
    assert.equal(signer(source), next);
    const nothing = { code: 'ERR_ISSUER', message: 'no issuing CA is prepared' };
    await assert.rejects(control.activate('issuing', options), nothing);
  });

  it('do the same with roots, whose CAs come later', async (t) => {
    const { source, control } = await started(t);
    const first = signer(source);
    const next = await control.prepare('root', options);
    assert.equal(source.bundle().x509Authorities.length, 2);
    await control.activate('root', options);
    assert.equal(idOf(source, 'root'), next);
    assert.equal(signer(source), first);
    await control.prepare('issuing', options);
    await control.activate('issuing', options);
    assert.equal(source.authorities().find(({ slot }) => slot === 'active')?.rootId, next);
  });

  it('wait for proxies that are behind, unless forced, and end with their signal', async (t) => {
    const { source, control, readers, pass, idle } = await started(t);
    const next = await control.prepare('issuing', options);
    readers.become(1);
    const abort = new AbortController();
    const given = control.activate('issuing', { signal: abort.signal, force: false });
    await idle();
    abort.abort(new Error('no patience'));
    await assert.rejects(given, /no patience/);
    const waiting = control.activate('issuing', options);
    await pass(4 * MINUTE_MS, MINUTE_MS);
    assert.notEqual(signer(source), next);
    readers.become(0);
    await waiting;
    assert.equal(signer(source), next);
    await control.prepare('issuing', options);
    readers.become(1);
    await control.activate('issuing', forced);
    assert.notEqual(signer(source), next);
  });

  it('one after the other: a second command waits for the first', async (t) => {
    const { source, control, readers, idle } = await started(t);
    await control.prepare('issuing', options);
    readers.become(1);
    const order: string[] = [];
    const first = control.activate('issuing', options).then(() => order.push('activate'));
    const second = control.prepare('issuing', options).then(() => order.push('prepare'));
    await idle();
    assert.deepEqual(order, []);
    readers.become(0);
    await Promise.all([first, second]);
    assert.deepEqual(order, ['activate', 'prepare']);
    assert.notEqual(idOf(source, 'prepared'), 'none');
  });

  it('leave roots to whom they belong', async (t) => {
    const { control } = await elsewhere(t);
    const message = /the roots are those of fake https:\/\/ca\.example/;
    await assert.rejects(control.prepare('root', options), { code: 'ERR_ISSUER', message });
    await assert.rejects(control.activate('root', options), { code: 'ERR_ISSUER', message });
  });
});

describe('taint', () => {
  it('of the CA that signs puts another one in its place first, in one write', async (t) => {
    const { source, control, tainted, disk } = await started(t);
    const first = signer(source);
    const atTaint: string[] = [];
    source.onTainted(() => atTaint.push(signer(source)));
    await control.taint(first.slice(0, 12), options);
    assert.deepEqual(tainted, [[first]]);
    assert.deepEqual(atTaint, [signer(source)]);
    assert.notEqual(signer(source), first);
    const state = disk.read()?.issuing.map((ca) => [ca.state, ca.tainted]);
    assert.deepEqual(state, [
      ['old', true],
      ['active', false],
    ]);
    await assert.rejects(control.taint(first, options), { message: /tainted already/ });
  });

  it('of a CA is kept over a restart, and it never helps out', async (t) => {
    const { source, control, clock, open } = await started(t);
    const first = signer(source);
    await control.taint(first, options);
    source.close();
    clock.jump(-5000);
    const again = await open();
    assert.notEqual(signer(again), first);
    clock.jump(-10_000);
    assert.notEqual(signer(again), first);
  });

  it('of a root signs everything below another one', async (t) => {
    const { source, control, tainted, readers, idle } = await started(t);
    const [root, ca] = [idOf(source, 'root'), signer(source)];
    source.onBundleChange(() => readers.become(2));
    const done = control.taint(root, options);
    await idle();
    assert.equal(signer(source), ca);
    assert.equal(source.bundle().x509Authorities.length, 2);
    readers.become(0);
    await done;
    assert.deepEqual(tainted, [[ca]]);
    assert.notEqual(idOf(source, 'root'), root);
    const active = source.authorities().find(({ slot }) => slot === 'active');
    assert.equal(active?.rootId, idOf(source, 'root'));
    // Until it is revoked, or nothing of it lives.
    assert.equal(source.bundle().x509Authorities.length, 2);
  });

  it('fails and changes nothing while the upstream is away, or has the same root again', async (t) => {
    const { source, control, upstream, disk } = await elsewhere(t);
    const { text } = disk;
    upstream.away = 'sealed';
    const name = signer(source);
    await assert.rejects(control.taint(name, options), { code: 'ERR_ISSUER', message: 'sealed' });
    upstream.away = undefined;
    const root = idOf(source, 'root');
    const again = { code: 'ERR_ISSUER', message: /below the root .* again/ };
    await assert.rejects(control.taint(root, options), again);
    assert.equal(disk.text, text);
    assert.equal((await disk.keys.ids()).length, 1);
  });

  it('of a root elsewhere waits until other nodes know the new one, and the old is not taken again', async (t) => {
    const { source, control, upstream, clock, pass } = await elsewhere(t);
    const [root, ca, before] = [idOf(source, 'root'), signer(source), upstream.root];
    upstream.root = await makeRoot(clock, 365 * DAY_MS);
    const done = control.taint(root, options);
    await pass(MINUTE_MS, 10_000);
    assert.equal(signer(source), ca);
    await pass(2 * MINUTE_MS, 10_000);
    await done;
    assert.notEqual(signer(source), ca);
    upstream.root = before;
    await assert.rejects(control.prepare('issuing', options), { message: /is tainted/ });
  });
});

describe('revoke', () => {
  it('takes what is tainted alone, and not while it is in use unless forced', async (t) => {
    let count = 7;
    const asked: (readonly string[])[] = [];
    const inUse = (ids: readonly string[]) => (asked.push(ids), count);
    const { source, control } = await started(t, { inUse });
    const [root, ca] = [idOf(source, 'root'), signer(source)];
    await assert.rejects(control.revoke(root, options), { message: /is not tainted/ });
    await control.taint(root, options);
    await assert.rejects(control.revoke(root, options), { message: /^7 SVIDs of the root/ });
    assert.deepEqual(asked, [[ca]]);
    const { sequence } = source.bundle();
    await control.revoke(root, forced);
    assert.equal(source.bundle().x509Authorities.length, 1);
    assert.equal(source.bundle().sequence, sequence + 1);
    count = 0;
    await assert.rejects(control.revoke(root, options), { message: /revoked already/ });
  });

  it('lists an issuing CA below a root of our own until it ends', async (t) => {
    const { source, control, pass } = await started(t);
    const ca = signer(source);
    const { serial, notAfterMs } =
      source.authorities().find(({ slot }) => slot === 'active') ?? assert.fail('none');
    await control.taint(ca, options);
    await control.revoke(ca, options);
    const listed = [{ issuerKeyId: idOf(source, 'root'), serial, notAfterMs }];
    assert.deepEqual(source.revokedAuthorities(), listed);
    await pass(23 * HOUR_MS, HOUR_MS);
    assert.deepEqual(source.revokedAuthorities(), listed);
    await pass(2 * HOUR_MS, HOUR_MS);
    assert.deepEqual(source.revokedAuthorities(), []);
  });

  it('refuses an issuing CA of somebody else: its root has the CRL', async (t) => {
    const { source, control } = await elsewhere(t);
    const ca = signer(source);
    await control.taint(ca, options);
    await assert.rejects(control.revoke(ca, options), { message: /whose CRL is not ours/ });
  });

  it('of a root holds though the upstream tells of it again', async (t) => {
    const world = authorityWorld(t);
    const root = await makeRoot(world.clock, 365 * DAY_MS);
    const next = await makeRoot(world.clock, 365 * DAY_MS);
    const upstream = new FakeUpstream(world.clock, root, { tells: true });
    upstream.tell([root, next]);
    const source = await world.open({ upstream });
    const control = controlOf(source);
    const name = idOf(source, 'root');
    upstream.root = next;
    const tainted = control.taint(name, options);
    await world.pass(3 * MINUTE_MS, 10_000);
    await tainted;
    await control.revoke(name, options);
    const bundle = source.bundle();
    assert.equal(bundle.x509Authorities.length, 1);
    upstream.tell([next, root]);
    await world.idle();
    assert.equal(source.bundle(), bundle);
    source.close();
    const again = await world.open({ upstream });
    assert.equal(again.bundle().x509Authorities.length, 1);
  });
});

describe('the name of an authority', () => {
  it('has to be there, and one alone', async (t) => {
    const { source, control } = await started(t);
    await assert.rejects(control.taint('zz', options), { message: /no authority is named "zz"/ });
    await assert.rejects(control.taint('', options), { message: /no authority is named/ });
    // Sixteen first digits at most: with enough authorities two begin alike.
    for (let n = 0; n < 17; n++) {
      await control.prepare('issuing', options);
      await control.activate('issuing', forced);
    }
    const names = source.authorities().map(({ id }) => id[0] ?? '');
    const twice = names.find((name, n) => names.indexOf(name) !== n) ?? '';
    await assert.rejects(control.taint(twice, options), { message: /names \d+ authorities/ });
  });
});

describe('who signs CRLs', () => {
  it('is every root of our own and every CA that lives, with its key', async (t) => {
    const { source, control } = await started(t);
    await control.prepare('root', options);
    await control.prepare('issuing', options);
    await control.activate('issuing', options);
    const signers = source.crlSigners();
    const ids = signers.map(({ certificate }) => certificate.keyId.toString('hex'));
    assert.deepEqual(
      ids.sort(),
      source
        .authorities()
        .map(({ id }) => id)
        .sort(),
    );
    assert.equal(ids.length, 4);
    for (const { certificate, key } of signers) assert.ok(certificate.spki.equals(key.spki));
  });
});
