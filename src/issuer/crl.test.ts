import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { FakeCas } from '../../test/support/crl-source.ts';
import {
  DAY_MS,
  HOUR_MS,
  issuerDeps,
  openssl,
  temporaryFolder,
} from '../../test/support/issuer.ts';
import { isSignedBy, readCrl } from '../identity/crl.ts';
import { pemBytes } from '../identity/pem.ts';
import { REVOCATION_REASONS, type RevocationReason } from '../identity/revocation-reason.ts';
import { buildCrl, MAX_CRL_ENTRIES, type CrlEntry } from './crl.ts';
import type { KeyType } from './key-type.ts';

const SERIAL = '4f'.repeat(16);

async function crlOf(entries: readonly CrlEntry[], caKeyType: KeyType = 'ec-p256') {
  const deps = issuerDeps();
  const cas = await FakeCas.create(deps, { caKeyType });
  const now = deps.clock.now();
  const times = { thisUpdateMs: now - HOUR_MS, nextUpdateMs: now + DAY_MS };
  const signer = cas.signer(cas.root);
  const der = await buildCrl({ signer, entries, number: 0x80, ...times });
  return { der, certificate: cas.root.certificate, now, signer, times };
}

function verified(t: TestContext, der: Buffer, caPem: Buffer): string {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'ca.pem'), caPem);
  writeFileSync(join(folder, 'crl.pem'), pemBytes('X509 CRL', der));
  const text = openssl([
    ...['crl', '-verify', '-noout', '-text', '-CAfile', join(folder, 'ca.pem')],
    ...['-in', join(folder, 'crl.pem')],
  ]);
  assert.match(text, /verify OK/);
  return text;
}

describe('buildCrl()', () => {
  for (const type of ['ec-p256', 'ec-p384', 'rsa-2048'] as const) {
    it(`makes one that openssl verifies, with a key of ${type}`, async (t) => {
      const { der, certificate, now } = await crlOf(
        [{ serial: SERIAL, revokedAtMs: Date.UTC(2026, 1, 3), reason: 'keyCompromise' }],
        type,
      );
      const text = verified(t, der, certificate.pem);
      assert.match(text, /Version 2/);
      assert.match(text, /X509v3 CRL Number: *\n *(128|0x80)\n/);
      const keyId = certificate.keyId.toString('hex').toUpperCase().match(/../g)?.join(':');
      assert.ok(text.includes(`${keyId}`), text);
      assert.match(text, new RegExp(`Serial Number: ${SERIAL}`, 'i'));
      assert.match(text, /Revocation Date: Feb {1,2}3 00:00:00 2026 GMT/);
      assert.match(text, /Key Compromise/);
      assert.equal(readCrl(der).nextUpdateMs, Math.floor((now + DAY_MS) / 1000) * 1000);
    });
  }

  it('leaves out the list when nothing is revoked, and the reason when there is none', async (t) => {
    const none = await crlOf([]);
    assert.match(verified(t, none.der, none.certificate.pem), /No Revoked Certificates/);
    const plain = await crlOf([{ serial: SERIAL, revokedAtMs: 0, reason: 'unspecified' }]);
    const text = verified(t, plain.der, plain.certificate.pem);
    // RFC 5280 5.3.1, and an empty sequence is no DER: Envoy refuses it since 1.38.
    assert.doesNotMatch(text, /CRL entry extensions/i);
    assert.equal(readCrl(plain.der).revoked[0]?.reason, 0);
  });

  it('says each reason, and reads back what it wrote', async () => {
    const names = Object.keys(REVOCATION_REASONS) as RevocationReason[];
    const entries = names.map((reason, n) => ({
      ...{ serial: `0${n + 1}`, revokedAtMs: 1_700_000_000_000, reason },
    }));
    const { der, certificate } = await crlOf(entries);
    const crl = readCrl(der);
    assert.deepEqual(
      crl.revoked,
      entries.map(({ reason, ...one }) => ({ ...one, reason: REVOCATION_REASONS[reason] })),
    );
    assert.ok(crl.issuer.equals(certificate.subject));
    assert.deepEqual(crl.authorityKeyId, certificate.keyId);
    assert.equal(crl.number?.toString('hex'), '0080');
  });

  it('takes as many entries as may be recorded, with the longest serial numbers', async (t) => {
    const entries = Array.from({ length: MAX_CRL_ENTRIES }, (_, n) => ({
      serial: `00${'ff'.repeat(18)}${n.toString(16).padStart(4, '0')}`,
      revokedAtMs: Date.UTC(2051, 0, 1),
      reason: 'superseded' as const,
    }));
    const { der, certificate } = await crlOf(entries, 'rsa-2048');
    assert.equal(readCrl(der).revoked.length, MAX_CRL_ENTRIES);
    verified(t, der, certificate.pem);
  });

  it('withholds what its key did not sign', async () => {
    const { signer, times } = await crlOf([]);
    const other = (await crlOf([])).signer.key;
    const forged = {
      ...signer,
      key: { ...signer.key, sign: (data: Uint8Array) => other.sign(data) },
    };
    const made = buildCrl({ signer: forged, entries: [], number: 1, ...times });
    await assert.rejects(made, { code: 'ERR_ISSUER', message: /does not verify/ });
    const mute = { ...signer, key: { ...signer.key, sign: () => Buffer.alloc(0) } };
    const empty = buildCrl({ signer: mute, entries: [], number: 1, ...times });
    await assert.rejects(empty, { code: 'ERR_ISSUER' });
  });

  it('is not signed by another key', async () => {
    const [one, two] = [await crlOf([]), await crlOf([])];
    const keyOf = ({ certificate }: typeof one) => new X509Certificate(certificate.der).publicKey;
    assert.equal(isSignedBy(readCrl(one.der), keyOf(two)), false);
    assert.equal(isSignedBy(readCrl(one.der), keyOf(one)), true);
  });
});
