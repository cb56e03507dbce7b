import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { before, describe, it, type TestContext } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
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
import { dnsNameFault } from '../identity/dns-name.ts';
import { parseSpiffeId, type SpiffeId } from '../identity/spiffe-id.ts';
import type { X509Svid } from '../identity/svid.ts';
import { openIssuer, type Issuer, type IssuerConfig } from './issuer.ts';
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

describe('minted certificates of any shape', () => {
  let issuer: Issuer;
  before(async () => {
    issuer = await openIssuer(issuerConfig(), issuerDeps());
  });

  it('parse the same in Node at every length of the ID up to 2048 (ID-18)', async () => {
    for (let length = 'spiffe://example.org/a'.length; length <= 2048; length++) {
      const id = uriOfLength(length);
      const svid = await issuer.mint({ id, dnsNames: length % 3 === 0 ? ['a.b'] : [] }, {});
      const expected = length % 3 === 0 ? `URI:${id}, DNS:a.b` : `URI:${id}`;
      assert.equal(nodeView(svid).subjectAltName, expected);
    }
  });

  it('parse and verify in openssl at the boundaries of DER lengths', async (t) => {
    for (const length of [127, 128, 129, 255, 256, 257, 2048]) {
      opensslVerify(t, issuer, await issuer.mint({ id: uriOfLength(length), dnsNames: [] }, {}));
    }
  });

  it('say to the X.509 library what was asked for, for any ID and DNS names', async () => {
    const label = fc.stringMatching(/^[a-zA-Z0-9]([a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?$/);
    const dnsName = fc
      .array(label, { minLength: 1, maxLength: 5 })
      .map((parts) => parts.join('.'))
      .filter((name) => dnsNameFault(name) === undefined);
    const segment = fc.stringMatching(/^[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,40}$/);
    const path = fc.array(segment, { minLength: 1, maxLength: 12 });
    const asked = fc.tuple(path, fc.array(dnsName, { maxLength: 12 }));
    await fc.assert(
      fc.asyncProperty(asked, async ([parts, dnsNames]) => {
        const id = parseSpiffeId(`spiffe://example.org/${parts.join('/')}`);
        const svid = await issuer.mint({ id, dnsNames }, {});
        const view = libraryView(svid);
        const names = view.getExtension(x509.SubjectAlternativeNameExtension)?.names.toJSON();
        const expected = [
          { type: 'url', value: id },
          ...dnsNames.map((value) => ({ type: 'dns', value })),
        ];
        assert.deepEqual(names, expected);
        assert.equal(view.serialNumber, svid.serial);
        assert.equal(view.notBefore.getTime(), svid.notBeforeMs);
        assert.equal(view.notAfter.getTime(), svid.notAfterMs);
        assert.ok(
          await view.verify({
            publicKey: new x509.X509Certificate(Buffer.from(svid.chain[1] ?? [])).publicKey,
            signatureOnly: true,
          }),
        );
      }),
      { numRuns: 60 },
    );
  });

  it('say the same time in Node for any moment, past 2049 too', async () => {
    const last = Date.UTC(9000, 0, 1);
    const moment = fc.integer({ min: Date.UTC(1995, 0, 1), max: last });
    await fc.assert(
      fc.asyncProperty(moment, async (startMs) => {
        const later = await openIssuer(
          issuerConfig({ rootTtlMs: 5000 * 365 * DAY_MS }),
          issuerDeps(startMs),
        );
        const svid = await later.mint({ id: WEB, dnsNames: [] }, {});
        later.close();
        const { validFrom, validTo } = nodeView(svid);
        assert.deepEqual(
          [Date.parse(validFrom), Date.parse(validTo)],
          [svid.notBeforeMs, svid.notAfterMs],
        );
      }),
      {
        numRuns: 40,
        examples: [
          [Date.UTC(2049, 11, 31, 23, 30)],
          [Date.UTC(2049, 11, 31, 23)],
          [Date.UTC(2050, 0, 1)],
        ],
      },
    );
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

describe('the signing certificates', () => {
  async function authorities(t: TestContext) {
    const { issuer } = await open(t);
    const svid = await issuer.mint({ id: WEB, dnsNames: [] }, {});
    const root = Buffer.from(issuer.bundle().x509Authorities[0]?.der ?? []);
    return { root, ca: Buffer.from(svid.chain[1] ?? []) };
  }

  it('X5-20, X5-21, X5-22: are CAs, critical, keyCertSign and cRLSign alone', async (t) => {
    for (const der of Object.values(await authorities(t))) {
      const view = new x509.X509Certificate(der);
      const usage = view.getExtension(x509.KeyUsagesExtension);
      assert.equal(view.getExtension(x509.BasicConstraintsExtension)?.ca, true);
      assert.equal(usage?.critical, true);
      assert.equal(usage.usages, x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign);
      assert.match(textOf(der), /Basic Constraints: critical\s+CA:TRUE/);
    }
  });

  it('X5-23, X5-24, X5-25, SV-03: carry the ID of the trust domain, without a path', async (t) => {
    for (const der of Object.values(await authorities(t))) {
      assert.equal(new X509Certificate(der).subjectAltName, 'URI:spiffe://example.org');
    }
  });

  it('X5-28: the issuing CA has path length 0, the root none', async (t) => {
    const { root, ca } = await authorities(t);
    const length = (der: Buffer) =>
      new x509.X509Certificate(der).getExtension(x509.BasicConstraintsExtension)?.pathLength;
    assert.deepEqual([length(root), length(ca)], [undefined, 0]);
  });

  it('X5-27, X5-29, X5-30: have neither name constraints nor an extended key usage', async (t) => {
    for (const der of Object.values(await authorities(t))) {
      assert.doesNotMatch(textOf(der), /Name Constraints|Extended Key Usage/);
    }
  });

  it('SV-04: the root is self-signed, and both have names of their own', async (t) => {
    const { root, ca } = await authorities(t);
    const view = new X509Certificate(root);
    assert.ok(view.verify(view.publicKey) && view.checkIssued(view));
    assert.notEqual(new X509Certificate(ca).subject, view.subject);
  });
});
