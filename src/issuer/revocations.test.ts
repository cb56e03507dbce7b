import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { settle } from '../../test/support/fake-clock.ts';
import { FakeCas } from '../../test/support/crl-source.ts';
import { API, WEB } from '../../test/support/identities.ts';
import { DAY_MS, HOUR_MS, issuerDeps } from '../../test/support/issuer.ts';
import { IdentityError } from '../core/errors.ts';
import type { Clock } from '../core/clock.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import { isSignedBy, readCrl } from '../identity/crl.ts';
import { parseSpiffeId } from '../identity/spiffe-id.ts';
import type { Authority } from './authority.ts';
import { createMemoryRevocations, type RevocationStore } from './revocation-record.ts';
import { openRevocations } from './revocations.ts';

const SERIAL = '4f'.repeat(16);
const options = { signal: new AbortController().signal };
const keyIdOf = ({ certificate }: Authority) => certificate.keyId.toString('hex');
const FULL = new IdentityError('ERR_DISK', 'no space left');

/** What each CRL of a bundle lists, by the CA that signed it; every one is verified. */
function listedIn(bundle: TrustBundle, authorities: readonly Authority[]) {
  return new Map(
    (bundle.crls ?? []).map((der) => {
      const crl = readCrl(der);
      const ca = authorities.find(({ certificate }) => certificate.subject.equals(crl.issuer));
      assert.ok(ca, 'a CRL of nobody');
      assert.ok(isSignedBy(crl, new X509Certificate(ca.certificate.der).publicKey));
      return [ca, crl.revoked.map(({ serial }) => serial)];
    }),
  );
}

/** Revocations beside a root and two issuing CAs. */
async function setup(
  t: TestContext,
  store: RevocationStore = createMemoryRevocations(),
  graceMs = 0,
) {
  const deps = issuerDeps();
  const cas = await FakeCas.create(deps);
  let stepMs = 0;
  // A machine's timers count on when its wall clock is set.
  const clock: Clock = {
    now: () => deps.clock.now() + stepMs,
    monotonic: () => deps.clock.monotonic(),
    after: (delayMs, fn) => deps.clock.after(delayMs, fn),
  };
  const setBy = (ms: number) => (stepMs += ms);
  const old = await cas.add();
  const active = await cas.add();
  const all = [cas.root, old, active];
  const open = async () => {
    const opened = await openRevocations(
      cas,
      { crlTtlMs: DAY_MS, store, graceMs },
      { ...deps, clock },
    );
    t.after(() => opened.close());
    return opened;
  };
  const revocations = await open();
  const sign = (serial: string, { by = active, id = WEB, ttlMs = HOUR_MS } = {}) =>
    revocations.signed({
      ...{ id, serial, authorityId: keyIdOf(by) },
      notAfterMs: deps.clock.now() + ttlMs,
    });
  const listed = () => listedIn(revocations.bundle(), all);
  const revoke = (serial: string) =>
    revocations.revoke({ serial, reason: 'keyCompromise' }, options);
  return {
    deps,
    clock,
    setBy,
    cas,
    old,
    active,
    all,
    store,
    open,
    revocations,
    sign,
    listed,
    revoke,
  };
}

describe('openRevocations()', () => {
  it('leaves the bundle as it is while nothing is revoked', async (t) => {
    const { cas, revocations } = await setup(t);
    assert.deepEqual(revocations.bundle(), cas.bundle());
    assert.equal(revocations.bundle(), revocations.bundle());
    assert.equal(cas.signatures, 0);
    assert.deepEqual(revocations.status(), {
      ...{ revoked: 0, nextUpdateMs: undefined, failure: undefined },
    });
  });

  it('puts CRLs of all CAs into the bundle at once, the serial in that of its CA', async (t) => {
    const { cas, old, active, revocations, sign, listed, revoke } = await setup(t);
    sign(SERIAL);
    const seen: number[] = [];
    revocations.onBundleChange(() => seen.push(revocations.bundle().crls?.length ?? 0));
    const before = revocations.bundle();
    const outcome = await revoke(SERIAL);
    assert.deepEqual(seen, [3]);
    assert.deepEqual(
      [listed().get(cas.root), listed().get(old), listed().get(active)],
      [[], [], [SERIAL]],
    );
    assert.ok(revocations.bundle().sequence > before.sequence);
    assert.equal(revocations.bundle(), revocations.bundle());
    assert.deepEqual([outcome.unknown, outcome.incomplete], [false, false]);
    assert.deepEqual(
      outcome.revoked.map(({ serial, spiffeId, issuerKeyId }) => [serial, spiffeId, issuerKeyId]),
      [[SERIAL, WEB, keyIdOf(active)]],
    );
  });

  it('tells of the serials when they are recorded and before they are published', async (t) => {
    const { revocations, store, sign, revoke } = await setup(t);
    sign(SERIAL);
    const told: unknown[] = [];
    revocations.onRevoked((serials) => {
      const kept = store.read()?.revoked.map(({ serial }) => serial);
      told.push([[...serials], kept, revocations.bundle().crls]);
    });
    await revoke(SERIAL);
    assert.deepEqual(told, [[[SERIAL], [SERIAL], undefined]]);
  });

  it('leaves the holders a moment before others refuse what is revoked', async (t) => {
    const { revocations, sign, revoke, deps } = await setup(t, createMemoryRevocations(), 200);
    sign(SERIAL);
    let isTold = false;
    revocations.onRevoked(() => (isTold = true));
    const asked = revoke(SERIAL);
    await deps.clock.advance(199);
    assert.deepEqual([isTold, revocations.bundle().crls], [true, undefined]);
    await deps.clock.advance(1);
    await asked;
    assert.equal(revocations.bundle().crls?.length, 3);
  });

  it('revokes all that lives of an identity, of each CA, and of no other', async (t) => {
    const { old, active, revocations, sign, listed, deps } = await setup(t);
    sign('41', { by: old, ttlMs: 2 * HOUR_MS });
    sign('42');
    sign('43', { id: API });
    sign('44', { ttlMs: 1000 });
    await deps.clock.advance(2000);
    await revocations.revoke({ spiffeId: WEB, reason: 'superseded' }, options);
    assert.deepEqual([listed().get(old), listed().get(active)], [['41'], ['42']]);
  });

  it('says when there may be SVIDs that it does not know of', async (t) => {
    const { revocations, open, deps, active, sign } = await setup(t);
    sign('41');
    const byId = { spiffeId: WEB, reason: 'superseded' } as const;
    assert.equal((await revocations.revoke(byId, options)).incomplete, false);
    await deps.clock.advance(HOUR_MS);
    const restarted = await open();
    const none = restarted.revoke(byId, options);
    await assert.rejects(none, { code: 'ERR_ISSUER', message: /no SVID of .* is known/ });
    restarted.signed({
      ...{ id: WEB, serial: '42', authorityId: keyIdOf(active) },
      notAfterMs: deps.clock.now() + HOUR_MS,
    });
    assert.equal((await restarted.revoke(byId, options)).incomplete, true);
  });

  it('lists an unknown serial with every CA that may have signed it, until the last ends', async (t) => {
    const { cas, old, active, listed, revoke } = await setup(t);
    const outcome = await revoke(SERIAL);
    assert.equal(outcome.unknown, true);
    assert.deepEqual(
      [listed().get(cas.root), listed().get(old), listed().get(active)],
      [[], [SERIAL], [SERIAL]],
    );
    assert.deepEqual(
      outcome.revoked.map(({ notAfterMs }) => notAfterMs),
      [old, active].map(({ certificate }) => certificate.validity.notAfterMs),
    );
  });

  it('revokes once what is revoked twice', async (t) => {
    const { revocations, sign, revoke, deps, store } = await setup(t);
    sign(SERIAL);
    const first = await revoke(SERIAL);
    const before = revocations.bundle();
    await deps.clock.advance(1000);
    assert.deepEqual((await revoke(SERIAL)).revoked, first.revoked);
    assert.equal(revocations.bundle(), before);
    assert.equal(store.read()?.revoked.length, 1);
  });

  it('takes CRLs away again when all that was revoked has ended', async (t) => {
    const { revocations, sign, revoke, deps } = await setup(t);
    sign(SERIAL);
    await revoke(SERIAL);
    const { sequence } = revocations.bundle();
    await deps.clock.advance(2 * HOUR_MS);
    assert.equal(revocations.bundle().crls?.length, 3);
    // An hour of life and two for clocks that differ.
    await deps.clock.advance(HOUR_MS + 60_000);
    assert.equal(revocations.bundle().crls, undefined);
    assert.ok(revocations.bundle().sequence > sequence);
    assert.equal(revocations.status().revoked, 0);
    assert.equal(deps.clock.timers, 0);
  });

  it('makes them anew half-way, in one change, with a higher number', async (t) => {
    const { revocations, cas, deps, revoke } = await setup(t);
    await revoke(SERIAL);
    const numbers = () => revocations.bundle().crls?.map((der) => readCrl(der).number) ?? [];
    const [first] = numbers();
    const end = revocations.status().nextUpdateMs ?? 0;
    assert.ok(Math.abs(end - deps.clock.now() - DAY_MS) < 2000);
    await deps.clock.advance(10.5 * HOUR_MS);
    assert.deepEqual([cas.signatures, numbers()[0]], [3, first]);
    await deps.clock.advance(3 * HOUR_MS);
    assert.equal(cas.signatures, 6);
    assert.ok(
      numbers().every((number) => Buffer.compare(number ?? Buffer.of(), first ?? Buffer.of()) > 0),
    );
    assert.ok((revocations.status().nextUpdateMs ?? 0) > end + 10 * HOUR_MS);
  });

  it('makes one for a CA that is prepared before that signs, and drops that of one that ended', async (t) => {
    const { revocations, cas, all, old, revoke } = await setup(t);
    await revoke('41');
    const prepared = await cas.add({ tell: false });
    assert.equal(revocations.keeper.covers(), false);
    const seen: number[] = [];
    revocations.onBundleChange(() => seen.push(revocations.bundle().crls?.length ?? 0));
    cas.tell();
    await settle();
    assert.deepEqual(seen, [4]);
    assert.equal(revocations.keeper.covers(), true);
    assert.deepEqual(listedIn(revocations.bundle(), [...all, prepared]).get(prepared), []);
    cas.signers = cas.signers.filter(({ certificate }) => certificate !== old.certificate);
    cas.tell();
    await settle();
    assert.deepEqual(seen, [4, 3]);
    // Those that stay were not signed anew.
    assert.equal(cas.signatures, 4);
  });

  it('makes one for a CA that nobody told of, within half a minute', async (t) => {
    const { revocations, cas, deps, revoke } = await setup(t);
    await revoke('41');
    await cas.add({ tell: false });
    await deps.clock.advance(31_000);
    assert.equal(revocations.bundle().crls?.length, 4);
  });

  it('lists an issuing CA that was revoked in the CRL of its root', async (t) => {
    const { cas, old, all, revocations, deps } = await setup(t);
    const { serial } = old.certificate;
    const notAfterMs = deps.clock.now() + HOUR_MS;
    cas.revoked = [{ issuerKeyId: keyIdOf(cas.root), serial, notAfterMs }];
    cas.tell();
    await settle();
    assert.deepEqual(listedIn(revocations.bundle(), all).get(cas.root), [serial]);
    assert.equal(revocations.bundle().crls?.length, 3);
    await deps.clock.advance(3 * HOUR_MS + 60_000);
    assert.equal(revocations.bundle().crls, undefined);
  });

  it('goes on after a restart, with CRLs before the first bundle and no lower sequence', async (t) => {
    const { cas, revocations, open, revoke, sign, active, all } = await setup(t);
    sign(SERIAL);
    await revoke(SERIAL);
    cas.changeBundle();
    await settle();
    const { sequence } = revocations.bundle();
    const restarted = await open();
    assert.ok(restarted.bundle().sequence >= sequence);
    assert.deepEqual(listedIn(restarted.bundle(), all).get(active), [SERIAL]);
  });

  it('follows the bundle of the CAs', async (t) => {
    const { cas, revocations, revoke } = await setup(t);
    await revoke('41');
    const before = revocations.bundle();
    let changes = 0;
    revocations.onBundleChange(() => changes++);
    cas.changeBundle();
    await settle();
    assert.equal(changes, 1);
    assert.equal(revocations.bundle().sequence, before.sequence + 1);
    assert.deepEqual(revocations.bundle().crls, before.crls);
  });

  it('starts not at all when what is revoked cannot be said', async (t) => {
    const { cas, open, revoke } = await setup(t);
    await revoke('41');
    cas.fault = new Error('the token is away');
    await assert.rejects(open(), { code: 'ERR_ISSUER', message: /token is away/ });
  });
});

describe('clocks that jump, keys and disks that are away', () => {
  it('makes CRLs anew at once when the clock went beyond their end', async (t) => {
    const { revocations, revoke, deps, clock, setBy, cas } = await setup(t);
    await revoke(SERIAL);
    setBy(2 * DAY_MS);
    await deps.clock.advance(30_000);
    assert.equal(cas.signatures, 6);
    assert.ok((revocations.status().nextUpdateMs ?? 0) > clock.now());
  });

  it('shows no CRL of the future when the clock is set back, by an hour or by days', async (t) => {
    const { revocations, revoke, deps, clock, setBy, cas } = await setup(t);
    await revoke(SERIAL);
    const isValid = () =>
      (revocations.bundle().crls ?? []).every((der) => readCrl(der).thisUpdateMs <= clock.now());
    setBy(-HOUR_MS);
    assert.equal(isValid(), true);
    await deps.clock.advance(30_000);
    assert.equal(cas.signatures, 3);
    setBy(-3 * DAY_MS);
    assert.equal(isValid(), false);
    await deps.clock.advance(30_000);
    assert.equal(isValid(), true);
  });

  it('still lists what had ended by a clock that went an hour ahead and came back', async (t) => {
    const { revocations, revoke, sign, listed, active, deps, setBy } = await setup(t);
    sign(SERIAL, { ttlMs: 600_000 });
    await revoke(SERIAL);
    setBy(HOUR_MS);
    await deps.clock.advance(60_000);
    await revoke('41');
    setBy(-HOUR_MS);
    await deps.clock.advance(60_000);
    assert.ok(listed().get(active)?.includes(SERIAL));
    assert.equal(revocations.status().revoked, 3);
  });

  it('records a revocation that cannot be signed, says so, and publishes it when it can', async (t) => {
    const { revocations, revoke, cas, deps, listed, active, sign, store } = await setup(t);
    sign(SERIAL);
    cas.fault = new Error('the token is away');
    await assert.rejects(revoke(SERIAL), {
      code: 'ERR_ISSUER',
      message: /recorded and not published yet: .*token is away/,
    });
    assert.equal(store.read()?.revoked.length, 1);
    assert.equal(revocations.bundle().crls, undefined);
    assert.equal(revocations.keeper.covers(), false);
    assert.match(revocations.status().failure?.message ?? '', /token is away/);
    assert.equal(deps.log.count('error', 'a revocation is not published'), 1);
    await deps.clock.advance(5000);
    cas.fault = undefined;
    await deps.clock.advance(60_000);
    assert.deepEqual(listed().get(active), [SERIAL]);
    assert.equal(revocations.status().failure, undefined);
  });

  it('never publishes some without the others', async (t) => {
    const { cas, revocations, revoke, active } = await setup(t);
    cas.signers = cas.signers.map((signer) =>
      signer.certificate === active.certificate
        ? { ...signer, key: { ...signer.key, sign: () => Promise.reject(new Error('lost')) } }
        : signer,
    );
    await assert.rejects(revoke(SERIAL), { code: 'ERR_ISSUER', message: /lost/ });
    assert.equal(revocations.bundle().crls, undefined);
  });

  it('keeps those in force while they cannot be made anew, louder as their end nears', async (t) => {
    const { cas, revocations, revoke, deps } = await setup(t);
    await revoke(SERIAL);
    const before = revocations.bundle();
    cas.fault = new Error('the token is away');
    await deps.clock.advance(14 * HOUR_MS);
    assert.equal(revocations.bundle(), before);
    assert.ok(deps.log.count('warn', 'could not be made anew') > 0);
    assert.equal(deps.log.count('error', ''), 0);
    await deps.clock.advance(6 * HOUR_MS);
    assert.ok(deps.log.count('error', 'nobody accepts any SVID') > 0);
    cas.fault = undefined;
    await deps.clock.advance(61_000);
    assert.notEqual(revocations.bundle(), before);
    assert.equal(revocations.status().failure, undefined);
  });

  it('gives up on a key that never answers, and hears of it no more', async (t) => {
    const { cas, revoke, deps, revocations } = await setup(t);
    cas.wait = new Promise(() => undefined);
    const asked = revoke(SERIAL);
    const refused = assert.rejects(asked, { code: 'ERR_ISSUER', message: /within 10 s/ });
    await deps.clock.advance(11_000);
    await refused;
    cas.wait = undefined;
    await deps.clock.advance(60_000);
    assert.equal(revocations.bundle().crls?.length, 3);
  });

  it('changes nothing when it cannot be recorded', async (t) => {
    const memory = createMemoryRevocations();
    let isFull = false;
    const store: RevocationStore = {
      ...memory,
      write(state) {
        if (isFull) throw FULL;
        memory.write(state);
      },
    };
    const { revocations, revoke, deps } = await setup(t, store);
    let told = 0;
    revocations.onRevoked(() => told++);
    isFull = true;
    await assert.rejects(revoke(SERIAL), FULL);
    assert.equal(revocations.bundle().crls, undefined);
    assert.equal(told, 0);
    isFull = false;
    await revoke(SERIAL);
    // Numbers are in stock: making them anew needs no disk.
    isFull = true;
    await deps.clock.advance(14 * HOUR_MS);
    assert.equal(revocations.status().failure, undefined);
    assert.ok((revocations.status().nextUpdateMs ?? 0) > deps.clock.now() + 20 * HOUR_MS);
  });

  it('lets who asked go, and publishes all the same', async (t) => {
    const { revocations, cas } = await setup(t);
    let release = () => undefined as unknown;
    cas.wait = new Promise((resolve) => (release = () => resolve()));
    const abort = new AbortController();
    const asked = revocations.revoke({ serial: SERIAL, reason: 'unspecified' }, abort);
    abort.abort(new Error('gone'));
    await assert.rejects(asked, { message: 'gone' });
    release();
    await settle();
    assert.equal(revocations.bundle().crls?.length, 3);
  });

  it('is silent once it is closed', async (t) => {
    const { revocations, revoke, cas, deps } = await setup(t);
    await revoke(SERIAL);
    revocations.close();
    await deps.clock.advance(2 * DAY_MS);
    assert.equal(cas.signatures, 3);
    await assert.rejects(revoke('41'), { code: 'ERR_ISSUER' });
  });
});

describe('what is refused', () => {
  it('refuses where the key of the root is not here, and says what else there is', async (t) => {
    const { cas, revocations, revoke, store } = await setup(t);
    cas.signers = cas.signers.slice(1);
    await assert.rejects(revoke(SERIAL), (thrown: IdentityError) => {
      assert.equal(thrown.code, 'ERR_ISSUER');
      assert.match(thrown.message, /CRL of the root is needed too/);
      assert.match(thrown.hint ?? '', /ca taint/);
      return true;
    });
    assert.equal(store.read(), undefined);
    assert.equal(revocations.bundle().crls, undefined);
  });

  it('says at the start that what was revoked is not listed there any more', async (t) => {
    const { cas, revoke, open, deps } = await setup(t);
    await revoke(SERIAL);
    cas.signers = cas.signers.slice(1);
    assert.equal((await open()).bundle().crls, undefined);
    assert.equal(deps.log.count('warn', 'revoked certificates are not listed'), 1);
  });

  it('refuses the serial of a CA', async (t) => {
    const { active, revoke } = await setup(t);
    await assert.rejects(revoke(active.certificate.serial), {
      code: 'ERR_ISSUER',
      message: /is a CA of this daemon/,
    });
  });

  it('refuses an identity of another trust domain', async (t) => {
    const { revocations } = await setup(t);
    const spiffeId = parseSpiffeId('spiffe://partner.example/web');
    await assert.rejects(revocations.revoke({ spiffeId, reason: 'unspecified' }, options), {
      code: 'ERR_ISSUER',
      message: /not in the trust domain example.org/,
    });
  });

  it('refuses more than a CRL holds, and none of them is revoked then', async (t) => {
    const { revocations, sign, revoke } = await setup(t);
    for (let n = 0; n < 999; n++) sign(`41${n.toString(16).padStart(4, '0')}`);
    await revocations.revoke({ spiffeId: WEB, reason: 'superseded' }, options);
    for (const serial of ['42', '43']) sign(serial, { id: API });
    const more = revocations.revoke({ spiffeId: API, reason: 'superseded' }, options);
    await assert.rejects(more, { code: 'ERR_ISSUER', message: /999 .* are revoked.* 2 .* 1000/ });
    assert.equal(revocations.status().revoked, 999);
    await revoke('42');
    assert.equal(revocations.status().revoked, 1000);
  });
});
