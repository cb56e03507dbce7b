import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { inspect } from 'node:util';
import {
  DAY_MS,
  HOUR_MS,
  issuerConfig,
  issuerDeps,
  openssl,
  opensslVerify,
  WEB,
} from '../../test/support/issuer.ts';
import { pemBytes } from '../identity/pem.ts';
import { parseSpiffeId, type SpiffeId } from '../identity/spiffe-id.ts';
import type { X509Svid } from '../identity/svid.ts';
import { openIssuer, type IssuerConfig } from './issuer.ts';
import { KEY_TYPES, type KeyType } from './key-type.ts';
import { loadX509Library } from './x509-library.ts';

const x509 = await loadX509Library();
const TYPES = Object.keys(KEY_TYPES) as KeyType[];

async function open(t: TestContext, overrides: Partial<IssuerConfig> = {}) {
  const deps = issuerDeps();
  const issuer = await openIssuer(issuerConfig(overrides), deps);
  t.after(() => issuer.close());
  return { issuer, ...deps };
}

const leafOf = (svid: X509Svid) => Buffer.from(svid.chain[0] ?? []);
const nodeView = (svid: X509Svid) => new X509Certificate(leafOf(svid));
const libraryView = (svid: X509Svid) => new x509.X509Certificate(leafOf(svid));
const textOf = (der: Uint8Array) => openssl(['x509', '-inform', 'DER', '-noout', '-text'], der);
const uriOfLength = (length: number) =>
  parseSpiffeId(`spiffe://example.org/${'a'.repeat(length - 'spiffe://example.org/'.length)}`);

describe('mint()', () => {
  it('X5-01, X5-02, X5-04: one critical URI name, the DNS names, an empty subject', async (t) => {
    const { issuer } = await open(t);
    const dnsNames = ['web.internal', '*.shop.svc', 'a-b.example'];
    const svid = await issuer.mint({ id: WEB, dnsNames }, {});
    const san = libraryView(svid).getExtension(x509.SubjectAlternativeNameExtension);
    assert.equal(san?.critical, true);
    const expected = [
      { type: 'url', value: WEB },
      ...dnsNames.map((value) => ({ type: 'dns', value })),
    ];
    assert.deepEqual(san.names.toJSON(), expected);
    assert.equal(libraryView(svid).subject, '');
    assert.match(textOf(leafOf(svid)), /Subject Alternative Name: critical/);
  });

  it('X5-05: two leaves of different IDs share nothing that could stand for an identity', async (t) => {
    const { issuer } = await open(t);
    const other = parseSpiffeId('spiffe://example.org/db');
    const a = await issuer.mint({ id: WEB, dnsNames: ['same.internal'] }, {});
    const b = await issuer.mint({ id: other, dnsNames: ['same.internal'] }, {});
    assert.doesNotMatch(textOf(leafOf(a)), /CN ?= ?(web|same)/);
    assert.notEqual(nodeView(a).subjectAltName, nodeView(b).subjectAltName);
    assert.notEqual(a.serial, b.serial);
    assert.notDeepEqual(a.key.pkcs8(), b.key.pkcs8());
  });

  it('X5-06: basicConstraints is there, critical, and no CA', async (t) => {
    const { issuer } = await open(t);
    const svid = await issuer.mint({ id: WEB, dnsNames: [] }, {});
    const constraints = libraryView(svid).getExtension(x509.BasicConstraintsExtension);
    assert.equal(constraints?.critical, true);
    assert.equal(constraints.ca, false);
    assert.match(textOf(leafOf(svid)), /Basic Constraints: critical\s+CA:FALSE/);
  });

  it('X5-07, X5-08, X5-09, X5-10: keyUsage is critical and digitalSignature alone', async (t) => {
    for (const keyType of ['ec-p256', 'rsa-2048'] as const) {
      const { issuer } = await open(t, { keyType });
      const svid = await issuer.mint({ id: WEB, dnsNames: [] }, {});
      const usage = libraryView(svid).getExtension(x509.KeyUsagesExtension);
      assert.equal(usage?.critical, true);
      assert.equal(usage.usages, x509.KeyUsageFlags.digitalSignature);
      assert.match(textOf(leafOf(svid)), /Key Usage: critical\s+Digital Signature\n/);
    }
  });

  it('X5-11, X5-12: extended key usage names servers and clients', async (t) => {
    const { issuer } = await open(t);
    const svid = await issuer.mint({ id: WEB, dnsNames: [] }, {});
    assert.deepEqual(nodeView(svid).keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  });

  it('X5-03, SV-01: refuses an ID without a path, of another trust domain, or malformed', async (t) => {
    const { issuer } = await open(t);
    const foreign = ['spiffe://example.org', 'spiffe://example.org/', 'spiffe://other.org/web'];
    const broken = [
      'spiffe://EXAMPLE.org/web',
      'spiffe://example.org/a//b',
      'https://example.org/a',
      '',
    ];
    for (const text of [...foreign, ...broken, `${uriOfLength(2048)}a`, 'spiffe://example.org/ü']) {
      const minting = issuer.mint({ id: text as SpiffeId, dnsNames: [] }, {});
      await assert.rejects(minting, { code: 'ERR_ISSUER' }, text);
    }
  });

  it('refuses malformed DNS names and lifetimes', async (t) => {
    const { issuer } = await open(t);
    const long = 'a.'.repeat(127);
    for (const name of [
      '',
      '.',
      'a..b',
      '-a',
      'a-',
      'ü.de',
      'a b',
      '*',
      'a.*',
      '*.*.b',
      'x'.repeat(64),
      long,
      'a\0b',
      'a_b',
      '10.0.0.1',
    ]) {
      const minting = issuer.mint({ id: WEB, dnsNames: [name] }, {});
      await assert.rejects(minting, { code: 'ERR_ISSUER' }, name);
    }
    const many = Array.from({ length: 257 }, (_, n) => `host${n}.internal`);
    await assert.rejects(issuer.mint({ id: WEB, dnsNames: many }, {}), { code: 'ERR_ISSUER' });
    for (const ttlMs of [0, -1, 999, NaN, -Infinity]) {
      const minting = issuer.mint({ id: WEB, dnsNames: [], ttlMs }, {});
      await assert.rejects(minting, { code: 'ERR_ISSUER' }, String(ttlMs));
    }
  });

  it('gives a chain of leaf and issuing CA without root, as DER and as one PEM text', async (t) => {
    const { issuer } = await open(t);
    const svid = await issuer.mint({ id: WEB, dnsNames: ['web.internal'] }, {});
    assert.equal(svid.chain.length, 2);
    const [leaf, ca] = svid.chain.map((der) => new X509Certificate(der));
    assert.ok(leaf && ca && leaf.verify(ca.publicKey) && leaf.checkIssued(ca));
    const root = new X509Certificate(issuer.bundle().x509Authorities[0]?.der ?? Buffer.alloc(0));
    assert.ok(ca.verify(root.publicKey) && ca.checkIssued(root) && !root.raw.equals(ca.raw));
    const pem = Buffer.concat(svid.chain.map((der) => pemBytes('CERTIFICATE', der)));
    assert.equal(Buffer.from(svid.chainPem).toString(), pem.toString());
  });

  it('gives a key that fits the leaf and prints nowhere', async (t) => {
    const { issuer, log } = await open(t);
    const svid = await issuer.mint({ id: WEB, dnsNames: [] }, {});
    assert.ok(nodeView(svid).checkPrivateKey(svid.key.keyObject()));
    assert.ok(createPrivateKey(svid.key.pem()).equals(svid.key.keyObject()));
    const secret = Buffer.from(svid.key.pkcs8());
    for (const text of [inspect(svid, { depth: 9 }), JSON.stringify(svid), inspect(log.lines)]) {
      assert.ok(!text.includes(secret.subarray(36, 68).toString('hex')));
      assert.ok(!text.includes(secret.toString('base64')));
    }
  });

  it('gives positive serials of 16 bytes, never twice, in hex as others print them', async (t) => {
    const { issuer } = await open(t);
    const serials = new Set<string>();
    for (let n = 0; n < 300; n++) {
      const svid = await issuer.mint({ id: WEB, dnsNames: [] }, {});
      assert.match(svid.serial, /^[4-7][0-9a-f]{31}$/);
      assert.equal(nodeView(svid).serialNumber.toLowerCase(), svid.serial);
      serials.add(svid.serial);
    }
    assert.equal(serials.size, 300);
  });

  it('is valid from 10 s ago for the lifetime asked for, in whole seconds', async (t) => {
    const { issuer, clock } = await open(t);
    clock.jump(750 - (clock.now() % 1000));
    const now = clock.now() - 750;
    const svid = await issuer.mint({ id: WEB, dnsNames: [] }, {});
    assert.equal(svid.notBeforeMs, now - 10_000);
    assert.equal(svid.notAfterMs, now + HOUR_MS);
    const short = await issuer.mint({ id: WEB, dnsNames: [], ttlMs: 1250 }, {});
    assert.equal(short.notAfterMs, now + 2000);
    assert.equal(Date.parse(nodeView(short).validFrom), short.notBeforeMs);
    assert.equal(Date.parse(nodeView(short).validTo), short.notAfterMs);
  });

  it('never outlives its issuing CA, whatever is asked for', async (t) => {
    const { issuer, clock } = await open(t, { rootTtlMs: 10 * HOUR_MS });
    const end = issuer.authorities().find(({ slot }) => slot === 'active')?.notAfterMs;
    for (const ttlMs of [11 * HOUR_MS, 365 * DAY_MS, Number.MAX_SAFE_INTEGER, Infinity]) {
      const svid = await issuer.mint({ id: WEB, dnsNames: [], ttlMs }, {});
      assert.equal(svid.notAfterMs, end);
      assert.ok(svid.notAfterMs <= clock.now() + 10 * HOUR_MS);
    }
  });

  it('stops for an aborted signal and after close', async (t) => {
    const { issuer } = await open(t);
    const gone = new Error('gone');
    const minting = issuer.mint({ id: WEB, dnsNames: [] }, { signal: AbortSignal.abort(gone) });
    await assert.rejects(minting, gone);
    issuer.close();
    await assert.rejects(issuer.mint({ id: WEB, dnsNames: [] }, {}), { code: 'ERR_SHUTDOWN' });
  });

  it('stops a mint whose signal is aborted while its RSA key is made', async (t) => {
    const { issuer } = await open(t, { keyType: 'rsa-2048' });
    const abort = new AbortController();
    const minting = issuer.mint({ id: WEB, dnsNames: [] }, { signal: abort.signal });
    abort.abort(new Error('gone'));
    await assert.rejects(minting, /gone/);
  });
});

describe('every key type', () => {
  for (const caKeyType of TYPES) {
    it(`makes a ${caKeyType} CA whose chains openssl verifies`, async (t) => {
      const { issuer } = await open(t, { caKeyType });
      assert.deepEqual(
        issuer.authorities().map(({ keyType }) => keyType),
        [caKeyType, caKeyType],
      );
      opensslVerify(t, issuer, await issuer.mint({ id: WEB, dnsNames: ['web.internal'] }, {}));
    });
  }

  for (const keyType of TYPES) {
    it(`makes ${keyType} SVIDs that openssl verifies`, async (t) => {
      const { issuer } = await open(t, { keyType });
      const svid = await issuer.mint({ id: WEB, dnsNames: [] }, {});
      opensslVerify(t, issuer, svid);
      assert.ok(nodeView(svid).checkPrivateKey(svid.key.keyObject()));
    });
  }
});
