import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import {
  issuerConfig,
  issuerDeps,
  openssl,
  temporaryFolder,
  WEB,
} from '../../test/support/issuer.ts';
import { settle } from '../../test/support/fake-clock.ts';
import { readCrl } from '../identity/crl.ts';
import { pemBytes } from '../identity/pem.ts';
import type { X509Svid } from '../identity/svid.ts';
import type { BundleReaders } from './bundle-readers.ts';
import { openIssuer, type Issuer, type IssuerConfig } from './issuer.ts';

const options = { signal: new AbortController().signal };

/** An issuer whose bundle every reader acknowledges at once. */
async function setup(t: TestContext, more: Partial<IssuerConfig> = {}, readers?: BundleReaders) {
  const deps = { ...issuerDeps(), readers };
  const open = async () => {
    const issuer = await openIssuer(issuerConfig(more), deps);
    t.after(() => issuer.close());
    return issuer;
  };
  const issuer = await open();
  const mint = (from: Issuer = issuer) => from.mint({ id: WEB, dnsNames: [] }, {});
  const revoke = async ({ serial }: { serial: string }, at: Issuer = issuer) => {
    const order = { serial, reason: 'keyCompromise' } as const;
    const asked = at.revocations().revoke(order, options);
    await deps.clock.advance(200);
    return asked;
  };
  return { deps, open, issuer, mint, revoke };
}

/** As a validator with the bundle sees it; throws with openssl's words when it refuses. */
function verify(t: TestContext, issuer: Issuer, svid: X509Svid): void {
  const folder = temporaryFolder(t);
  const { x509Authorities, crls = [] } = issuer.bundle();
  const [chain, roots] = [join(folder, 'chain.pem'), join(folder, 'roots.pem')];
  writeFileSync(chain, svid.chainPem);
  const pems = [
    ...x509Authorities.map(({ der }) => pemBytes('CERTIFICATE', der)),
    ...crls.map((crl) => pemBytes('X509 CRL', crl)),
  ];
  writeFileSync(roots, Buffer.concat(pems));
  const check = crls.length > 0 ? ['-crl_check_all'] : [];
  openssl(['verify', ...check, '-CAfile', roots, '-untrusted', chain, chain]);
}

describe('revoked SVIDs of an issuer', () => {
  it('are refused by openssl, while others of the same CA are not', async (t) => {
    const { issuer, mint, revoke } = await setup(t);
    const [stolen, other] = [await mint(), await mint()];
    verify(t, issuer, stolen);
    const told: string[] = [];
    issuer.onRevoked((serials) => told.push(...serials));
    await revoke(stolen);
    assert.deepEqual(told, [stolen.serial]);
    assert.throws(() => verify(t, issuer, stolen), /certificate revoked/);
    verify(t, issuer, other);
    verify(t, issuer, await mint());
  });

  it('stay so over a restart, and the sequence does not fall', async (t) => {
    const dataDir = join(temporaryFolder(t), 'data');
    const { issuer, open, mint, revoke } = await setup(t, { keyManager: 'disk', dataDir });
    const [stolen, other] = [await mint(), await mint()];
    await revoke(stolen);
    const { sequence } = issuer.bundle();
    issuer.close();
    const again = await open();
    assert.ok(again.bundle().sequence >= sequence);
    assert.throws(() => verify(t, again, stolen), /certificate revoked/);
    verify(t, again, other);
  });

  it('do not come in the way of a rotation: a new CA has its CRL before it signs', async (t) => {
    const { issuer, mint, revoke } = await setup(t);
    const stolen = await mint();
    const before = await mint();
    await revoke(stolen);
    const control = issuer.control() ?? assert.fail('no control');
    for (const level of ['issuing', 'root', 'issuing'] as const) {
      await control.prepare(level, options);
      await settle();
      const ids = issuer.authorities().length;
      assert.equal(issuer.bundle().crls?.length, ids, `${level} prepared`);
      await control.activate(level, { ...options, force: false });
      verify(t, issuer, await mint());
    }
    verify(t, issuer, before);
    assert.throws(() => verify(t, issuer, stolen), /certificate revoked/);
  });

  it('keep a CA from signing until all readers have its CRL too', async (t) => {
    let behind = 0;
    const listeners = new Set<() => void>();
    const readers: BundleReaders = {
      count: () => ({ readers: 1, behind }),
      onChange(listener) {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    };
    const { issuer, mint, revoke } = await setup(t, {}, readers);
    await revoke(await mint());
    const control = issuer.control() ?? assert.fail('no control');
    // A reader acknowledges some time after each change of the bundle.
    issuer.onBundleChange(() => (behind = 1));
    const { authorityId } = await mint();
    await control.prepare('issuing', options);
    const activated = control.activate('issuing', { ...options, force: false });
    await settle();
    assert.deepEqual([behind, issuer.bundle().crls?.length], [1, 3]);
    assert.equal((await mint()).authorityId, authorityId);
    behind = 0;
    for (const tell of [...listeners]) tell();
    await activated;
    assert.notEqual((await mint()).authorityId, authorityId);
  });
});

describe('a revoked issuing CA', () => {
  it('is in the CRL of its root, and what it signed is refused', async (t) => {
    const { issuer, mint } = await setup(t);
    const old = await mint();
    const control = issuer.control() ?? assert.fail('no control');
    await control.taint(old.authorityId, options);
    const next = await mint();
    verify(t, issuer, old);
    await control.revoke(old.authorityId, { ...options, force: true });
    await settle();
    const revoked = (issuer.bundle().crls ?? []).flatMap((crl) => readCrl(crl).revoked);
    assert.deepEqual(
      revoked.map(({ reason }) => reason),
      [2],
    );
    assert.throws(() => verify(t, issuer, old), /certificate revoked/);
    verify(t, issuer, next);
  });
});
