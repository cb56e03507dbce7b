import assert from 'node:assert/strict';
import crypto, { type ECDH } from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import {
  createForger,
  ED25519,
  P384,
  P521,
  rsa,
  type Forger,
  type Forgery,
} from '../../test/support/forged.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { OWN } from '../../test/support/identities.ts';
import { IdentityError } from '../core/errors.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import { readCertificate } from '../identity/certificate.ts';
import { loadX509Library } from '../issuer/x509-library.ts';
import type { X509Svid } from '../identity/svid.ts';
import { preflighted, preflightedBundles } from './preflight.ts';

const NOW = Date.UTC(2030, 0, 1);
const SERVER = '1.3.6.1.5.5.7.3.1';
const ID = 'spiffe://example.org/web';

const asMinted = preflighted((svid: X509Svid) => Promise.resolve(svid), new FakeClock(NOW));

/** Why an SVID is withheld; empty when it leaves. */
async function svidFault(svid: X509Svid): Promise<string> {
  try {
    assert.equal(await asMinted(svid), svid);
    return '';
  } catch (thrown) {
    assert.ok(thrown instanceof IdentityError);
    assert.equal(thrown.code, 'ERR_ISSUER');
    return thrown.message;
  }
}

/** Why a bundle is withheld; undefined when it leaves. */
function bundleFault(bundle: TrustBundle, nowMs = NOW): string | undefined {
  let fault: string | undefined;
  const get = preflightedBundles(
    () => bundle,
    (_, why) => (fault = why),
    new FakeClock(nowMs),
  );
  assert.equal(get(OWN), fault === undefined ? bundle : undefined);
  return fault;
}

describe('preflighted()', () => {
  let forger: Forger;
  before(async () => {
    forger = await createForger(NOW);
  });
  const faultOf = async (forgery: Forgery) => svidFault(await forger.svid(forgery));

  it('lets an SVID go, with a key of each type that Envoy takes', async () => {
    for (const algorithm of [undefined, P384, rsa(2048)]) {
      assert.equal(await faultOf(algorithm ? { algorithm } : {}), '');
    }
    assert.equal(await faultOf({ chain: ['leaf'] }), '');
  });

  /** Each is taken by Envoy and harms, or is refused and then stuck in it. */
  const faults: readonly (readonly [string, Forgery, RegExp])[] = [
    ['a key that does not fit', { otherKey: true }, /private key does not fit/],
    ['an RSA key that does not fit', { algorithm: rsa(2048), otherKey: true }, /does not fit/],
    ['a short RSA key', { algorithm: rsa(1024) }, /1024 bits, 2048/],
    ['an Ed25519 key', { algorithm: ED25519 }, /neither RSA nor of a curve/],
    ['a P-521 key', { algorithm: P521 }, /curve that Envoy does not take/],
    ['no key usage', { keyUsage: [] }, /lacks digitalSignature/],
    [
      'a key usage without digitalSignature',
      { keyUsage: ['keyEncipherment'] },
      /lacks digitalSignature/,
    ],
    [
      'a key usage of a CA',
      { keyUsage: ['digitalSignature', 'keyCertSign'] },
      /key usage is that of a CA/,
    ],
    ['a leaf that is a CA', { ca: true }, /the leaf is a CA/],
    ['no extended key usage', { purposes: [] }, /extended key usage/],
    ['an extended key usage of a server alone', { purposes: [SERVER] }, /extended key usage/],
    ['an expired leaf', { notAfterMs: NOW - 1000 }, /expired at 2029-12-31T23:59:59/],
    [
      'a leaf that outlives its issuer',
      { notAfterMs: NOW + 11 * 86_400_000 },
      /life of its issuer/,
    ],
    ['a leaf of tomorrow', { notBeforeMs: NOW + 1000 }, /not valid before/],
    ['another SPIFFE ID', { uris: ['spiffe://example.org/api'] }, /URI name is not/],
    ['two SPIFFE IDs', { uris: [ID, 'spiffe://example.org/api'] }, /URI name is not/],
    ['no SPIFFE ID', { uris: [] }, /URI name is not/],
    ['a chain with the root', { chain: ['leaf', 'issuing', 'root'] }, /holds a root/],
    ['a chain out of order', { chain: ['issuing', 'leaf'] }, /the leaf is a CA/],
    ['an issuer of others', { chain: ['leaf', 'stranger'] }, /out of order/],
    ['a leaf twice', { chain: ['leaf', 'leaf'] }, /issuer is not a CA/],
    ['no certificate', { chain: [] }, /no certificate/],
  ];
  for (const [name, forgery, fault] of faults) {
    it(`holds back ${name}`, async () => {
      assert.match(await faultOf(forgery), fault);
    });
  }

  it('holds back a key of another kind than the certificate', async () => {
    const [ec, other] = [await forger.svid(), await forger.svid({ algorithm: rsa(2048) })];
    assert.match(await svidFault({ ...ec, key: other.key }), /another kind/);
    assert.match(await svidFault({ ...other, key: ec.key }), /another kind/);
  });

  it('holds back whatever is cut short or changed at random', async () => {
    const svid = await forger.svid();
    const [leaf] = svid.chain;
    assert.ok(leaf);
    await fc.assert(
      fc.asyncProperty(fc.nat(leaf.length - 1), async (length) => {
        const chain = [leaf.subarray(0, length)];
        assert.match(await svidFault({ ...svid, chain }), /cannot be read/);
      }),
    );
    fc.assert(
      fc.property(fc.nat(leaf.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const bytes = Buffer.from(leaf);
        bytes.writeUInt8(bytes.readUInt8(at) ^ flip, at);
        try {
          readCertificate(bytes);
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError);
          assert.equal(thrown.code, 'ERR_BAD_REQUEST');
        }
      }),
    );
  });

  it('makes a failed mint of an SVID that may not leave', async () => {
    const bad = await forger.svid({ otherKey: true });
    await assert.rejects(asMinted(bad), {
      code: 'ERR_ISSUER',
      message: 'the SVID of spiffe://example.org/web is withheld: its private key does not fit',
    });
    // Nobody gets to see it, so nobody else wipes it.
    assert.throws(() => bad.key.pkcs8(), { code: 'ERR_BUG' });
  });

  it('keeps no private key longer than one turn of the event loop', async (t) => {
    const made: ECDH[] = [];
    const { createECDH } = crypto;
    t.mock.method(crypto, 'createECDH', (curve: string) => {
      const ecdh = createECDH(curve);
      made.push(ecdh);
      return ecdh;
    });
    syncBuiltinESMExports();
    t.after(() => {
      t.mock.restoreAll();
      syncBuiltinESMExports();
    });
    const mint = preflighted((svid: X509Svid) => Promise.resolve(svid), new FakeClock(NOW));
    const svids = [
      await forger.svid(),
      await forger.svid({ algorithm: P384 }),
      await forger.svid(),
    ];
    // Nobody's key is the number 1, which any key could contain.
    const kept = () => made.map((ecdh) => ecdh.getPrivateKey()).filter(({ length }) => length > 1);
    const shown = () =>
      svids.map(({ key }) => kept().some((scalar) => Buffer.from(key.pkcs8()).includes(scalar)));
    await Promise.all(svids.map((svid) => mint(svid)));
    assert.deepEqual(shown(), [false, true, true]);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(shown(), [false, false, false]);
    // And the check still works after it.
    assert.equal(await mint(svids[0] ?? assert.fail()), svids[0]);
  });
});

describe('preflightedBundles()', () => {
  it('lets self-signed roots go and holds back everything else', async () => {
    const forger = await createForger(NOW);
    assert.equal(bundleFault(forger.bundle('root')), undefined);
    assert.match(bundleFault(forger.bundle('root', 'issuing')) ?? '', /not self-signed/);
    assert.match(bundleFault(forger.bundle()) ?? '', /no root/);
    assert.match(bundleFault(forger.bundle('root'), NOW + 11 * 86_400_000) ?? '', /expired/);
    assert.match(bundleFault(forger.bundle('root'), NOW - 11 * 86_400_000) ?? '', /not valid yet/);
    const [root] = forger.bundle('root').x509Authorities;
    const der = Buffer.from(root?.der ?? []);
    der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1);
    const turnedIn = { ...forger.bundle('root'), x509Authorities: [{ der, notAfterMs: 0 }] };
    assert.match(bundleFault(turnedIn) ?? '', /not signed by itself/);
    const { trustDomain, sequence } = forger.bundle();
    const garbage = [{ der: Buffer.from('garbage'), notAfterMs: NOW }];
    const fault = bundleFault({ trustDomain, sequence, x509Authorities: garbage });
    assert.match(fault ?? '', /cannot be read/);
  });

  it('keeps the last good bundle, and reports each bad one once', async () => {
    const forger = await createForger(NOW);
    const [good, bad, better] = [['root'], ['issuing'], ['root', 'root']] as const;
    const reports: string[] = [];
    let current: TrustBundle | undefined;
    const get = preflightedBundles(
      () => current,
      (domain, fault) => void reports.push(`${domain}: ${fault}`),
      new FakeClock(NOW),
    );
    const show = (roots?: readonly ('root' | 'issuing')[]) => {
      current = roots && forger.bundle(...roots);
      return [get(OWN), get(OWN)].map((bundle) => bundle?.x509Authorities.length);
    };
    assert.deepEqual(show(bad), [undefined, undefined]);
    assert.deepEqual(show(good), [1, 1]);
    assert.deepEqual(show(bad), [1, 1]);
    assert.deepEqual(show(better), [2, 2]);
    assert.deepEqual(show(undefined), [undefined, undefined]);
    const report = 'example.org: a root is not self-signed';
    assert.deepEqual(reports, [report, report]);
  });

  it('judges the life of roots anew when time has passed one of its ends', async () => {
    const bundle = (await createForger(NOW)).bundle('root');
    const DAY = 86_400_000;
    const reports: string[] = [];
    let nowMs = NOW - 11 * DAY;
    const get = preflightedBundles(
      () => bundle,
      (_, fault) => void reports.push(fault),
      { now: () => nowMs },
    );
    const at = (ms: number) => {
      nowMs = ms;
      return [get(OWN), get(OWN)];
    };
    assert.deepEqual(at(NOW - 11 * DAY), [undefined, undefined]);
    assert.deepEqual(at(NOW), [bundle, bundle]);
    assert.deepEqual(at(NOW + 11 * DAY), [undefined, undefined]);
    // A clock that is set back.
    assert.deepEqual(at(NOW), [bundle, bundle]);
    assert.deepEqual(reports, ['a root is not valid yet', 'a root has expired']);
  });

  it('lets a bundle go in which one of several roots has expired', async () => {
    const past = (await createForger(NOW - 15 * 86_400_000)).bundle('root');
    const own = (await createForger(NOW)).bundle('root');
    const x509Authorities = [...past.x509Authorities, ...own.x509Authorities];
    assert.equal(bundleFault({ ...own, x509Authorities }), undefined);
    assert.match(bundleFault(past) ?? '', /expired/);
  });
});

describe('preflightedBundles() with CRLs', () => {
  const DAY = 86_400_000;

  /** A root and what it, and another one of the same name, says is revoked. */
  async function setup() {
    const x509 = await loadX509Library();
    const forger = await createForger(NOW);
    const make = async (issuer: string, thisMs: number, nextMs: number, by = forger.rootKey) => {
      const crl = await x509.X509CrlGenerator.create({
        ...{ issuer, thisUpdate: new Date(thisMs), nextUpdate: new Date(nextMs) },
        signingKey: by,
        signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      });
      return Buffer.from(crl.rawData);
    };
    const bundle = forger.bundle('root');
    const fault = (crls: readonly Buffer[], nowMs = NOW) => bundleFault({ ...bundle, crls }, nowMs);
    return { forger, make, bundle, fault };
  }

  it('lets them go when the root has its own, and others are read', async () => {
    const { make, fault } = await setup();
    const ofRoot = await make('CN=root', NOW - DAY, NOW + DAY);
    const ofIssuing = await make('CN=issuing', NOW - DAY, NOW + DAY);
    assert.equal(fault([ofRoot]), undefined);
    assert.equal(fault([ofRoot, ofIssuing]), undefined);
  });

  it('holds back what Envoy refuses, or what refuses every peer', async () => {
    const { forger, make, fault } = await setup();
    const ofRoot = await make('CN=root', NOW - DAY, NOW + DAY);
    const ofIssuing = await make('CN=issuing', NOW - DAY, NOW + DAY);
    assert.match(fault([ofIssuing]) ?? '', /a root has no CRL, and others have one/);
    assert.match(fault([ofRoot, Buffer.from('garbage')]) ?? '', /a CRL cannot be read/);
    const forged = await make('CN=root', NOW - DAY, NOW + DAY, forger.issuingKey);
    assert.match(fault([forged]) ?? '', /not signed by its root/);
    assert.match(fault([ofRoot], NOW + 2 * DAY) ?? '', /a CRL has expired/);
    assert.match(fault([await make('CN=root', NOW + 1000, NOW + DAY)]) ?? '', /of the future/);
  });

  it('judges them anew when one of them has ended, and keeps what was good before', async () => {
    const { make, bundle } = await setup();
    const [first, second] = [
      { ...bundle, crls: [await make('CN=root', NOW - DAY, NOW + DAY)] },
      { ...bundle, crls: [await make('CN=root', NOW, NOW + 3 * DAY)] },
    ];
    let current: TrustBundle = first;
    let nowMs = NOW;
    const faults: string[] = [];
    const get = preflightedBundles(
      () => current,
      (_, why) => faults.push(why),
      { now: () => nowMs },
    );
    assert.equal(get(OWN), first);
    nowMs = NOW + 2 * DAY;
    assert.equal(get(OWN), undefined);
    current = second;
    assert.equal(get(OWN), second);
    current = { ...bundle, crls: [Buffer.from('garbage')] };
    assert.equal(get(OWN), second);
    assert.equal(faults.length, 2);
  });
});
