import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, it } from 'node:test';
import type { Extension, KeyUsageFlags } from '@peculiar/x509';
import fc from 'fast-check';
import { WEB } from '../../test/support/issuer.ts';
import { errorText, IdentityError } from '../core/errors.ts';
import { der, TAG } from '../core/der.ts';
import { KEY_TYPES } from './key-type.ts';
import { createLeafKeySource } from './leaf-keys.ts';
import { lintLeaf, type LeafExpectation } from './lint.ts';
import { subjectKeyId } from './subject-key-id.ts';
import { assembleCertificate, createLeafTemplate } from './template.ts';
import { loadX509Library } from './x509-library.ts';

const x509 = await loadX509Library();
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const { signatureAlgorithm } = KEY_TYPES['ec-p256'];
const issuerName = new x509.Name('CN=Issuing CA');
const DNS = ['web.internal', 'web.shop.svc'];
const NOT_BEFORE = Date.UTC(2030, 0, 1);
const NOT_AFTER = Date.UTC(2030, 0, 1, 1);
const SERVER = '1.3.6.1.5.5.7.3.1';
const CLIENT = '1.3.6.1.5.5.7.3.2';

const leafKey = await createLeafKeySource('ec-p256')({});
const want: LeafExpectation = {
  issuer: {
    name: Buffer.from(issuerName.toArrayBuffer()),
    keyId: Buffer.alloc(20, 0x11),
    signatureAlgorithm,
  },
  issuerValidity: { notBeforeMs: NOT_BEFORE, notAfterMs: NOT_AFTER },
  fields: {
    serial: Buffer.alloc(16, 0x41),
    validity: { notBeforeMs: NOT_BEFORE, notAfterMs: NOT_AFTER },
    spki: leafKey.spki,
    keyId: subjectKeyId(leafKey.spki),
    id: WEB,
    dnsNames: DNS,
  },
};

function minted(): Buffer {
  const tbs = createLeafTemplate(want.issuer)(want.fields);
  return assembleCertificate(tbs, signatureAlgorithm, sign('sha256', tbs, privateKey));
}

const san = (uris: string[], dns: string[] = DNS, critical = true) =>
  new x509.SubjectAlternativeNameExtension(
    [
      ...uris.map((value) => ({ type: 'url' as const, value })),
      ...dns.map((value) => ({ type: 'dns' as const, value })),
    ],
    critical,
  );
const usage = (flags: readonly KeyUsageFlags[], critical = true) =>
  new x509.KeyUsagesExtension(
    flags.reduce((all, flag) => (all | flag) as KeyUsageFlags),
    critical,
  );

const GOOD: Readonly<Record<string, Extension | undefined>> = {
  usage: usage([x509.KeyUsageFlags.digitalSignature]),
  purposes: new x509.ExtendedKeyUsageExtension([SERVER, CLIENT]),
  constraints: new x509.BasicConstraintsExtension(false, undefined, true),
  ownId: new x509.SubjectKeyIdentifierExtension(want.fields.keyId.toString('hex')),
  issuerId: new x509.AuthorityKeyIdentifierExtension(want.issuer.keyId.toString('hex')),
  names: san([WEB]),
};

interface Change {
  extensions?: Readonly<Record<string, Extension | undefined>>;
  subject?: string;
  issuer?: string;
  serialNumber?: string;
  notBefore?: Date;
  notAfter?: Date;
  publicKey?: Buffer;
  hash?: string;
}

/** A leaf by the other implementation, with something changed. */
async function byLibrary(change: Change = {}): Promise<Buffer> {
  const extensions = Object.values({ ...GOOD, ...change.extensions });
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: change.serialNumber ?? want.fields.serial.toString('hex'),
    ...(change.subject === undefined ? {} : { subject: change.subject }),
    issuer: change.issuer ?? issuerName,
    notBefore: change.notBefore ?? new Date(NOT_BEFORE),
    notAfter: change.notAfter ?? new Date(NOT_AFTER),
    publicKey: new x509.PublicKey(change.publicKey ?? want.fields.spki),
    signature: new Uint8Array(64).fill(1),
    signingAlgorithm: { name: 'ECDSA', hash: change.hash ?? 'SHA-256' },
    extensions: extensions.filter((extension) => extension !== undefined),
  });
  return Buffer.from(certificate.rawData);
}

describe('lintLeaf()', () => {
  it('passes what the template writes and what the X.509 library writes', async () => {
    lintLeaf(minted(), want);
    lintLeaf(await byLibrary(), want);
  });

  const other = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).publicKey;
  const otherSpki = other.export({ type: 'spki', format: 'der' });
  const flags = x509.KeyUsageFlags;
  const cases: readonly [string, RegExp, Change][] = [
    ['X5-01: no URI name', /X5-01|tag/, { extensions: { names: san([]) } }],
    ['X5-01: two URI names', /X5-0|tag/, { extensions: { names: san([WEB, 'https://a.b/c']) } }],
    ['X5-01: another ID', /X5-01/, { extensions: { names: san(['spiffe://example.org/webs']) } }],
    ['X5-01: no SAN', /X5-01/, { extensions: { names: undefined } }],
    [
      'X5-02: a DNS name missing',
      /malformed/,
      { extensions: { names: san([WEB], ['web.internal']) } },
    ],
    ['X5-02: a DNS name too many', /X5-01/, { extensions: { names: san([WEB], [...DNS, 'x.y']) } }],
    [
      'X5-02: other DNS names',
      /X5-02/,
      { extensions: { names: san([WEB], ['web.internal', 'web.shop.svd']) } },
    ],
    ['X5-04: SAN not critical', /X5-04/, { extensions: { names: san([WEB], DNS, false) } }],
    ['X5-04: a subject', /too many/, { subject: 'CN=web' }],
    [
      'X5-06: a CA',
      /X5-06/,
      { extensions: { constraints: new x509.BasicConstraintsExtension(true, undefined, true) } },
    ],
    ['X5-06: no basicConstraints', /X5-06/, { extensions: { constraints: undefined } }],
    ['X5-07: no keyUsage', /X5-07/, { extensions: { usage: undefined } }],
    [
      'X5-07: keyUsage not critical',
      /X5-07/,
      { extensions: { usage: usage([flags.digitalSignature], false) } },
    ],
    ['X5-08: no digitalSignature', /X5-08/, { extensions: { usage: usage([flags.keyAgreement]) } }],
    [
      'X5-09: keyCertSign',
      /X5-09/,
      { extensions: { usage: usage([flags.digitalSignature, flags.keyCertSign]) } },
    ],
    [
      'X5-09: cRLSign',
      /X5-09/,
      { extensions: { usage: usage([flags.digitalSignature, flags.cRLSign]) } },
    ],
    ['X5-11: no extended key usage', /X5-11/, { extensions: { purposes: undefined } }],
    [
      'X5-12: only clients',
      /X5-12/,
      { extensions: { purposes: new x509.ExtendedKeyUsageExtension([CLIENT]) } },
    ],
    [
      'X5-12: only servers',
      /X5-12/,
      { extensions: { purposes: new x509.ExtendedKeyUsageExtension([SERVER]) } },
    ],
    ['another key', /public key/, { publicKey: otherSpki }],
    [
      'another subject key identifier',
      /4\.2\.1\.2/,
      { extensions: { ownId: new x509.SubjectKeyIdentifierExtension('22'.repeat(20)) } },
    ],
    [
      'another authority key identifier',
      /4\.2\.1\.1/,
      { extensions: { issuerId: new x509.AuthorityKeyIdentifierExtension('22'.repeat(20)) } },
    ],
    ['another issuer', /4\.1\.2\.4/, { issuer: 'CN=Issuing CB' }],
    ['another serial', /serial/, { serialNumber: '42'.repeat(16) }],
    ['another notBefore', /notBefore/, { notBefore: new Date(NOT_BEFORE - 1000) }],
    ['another notAfter', /notAfter/, { notAfter: new Date(NOT_AFTER + 1000) }],
    ['another signature algorithm', /4\.1\.2\.3/, { hash: 'SHA-384' }],
    ['an extension twice', /twice/, { extensions: { again: usage([flags.digitalSignature]) } }],
    [
      'an unknown extension',
      /unknown/,
      { extensions: { more: new x509.Extension('1.2.3', false, new Uint8Array([5, 0])) } },
    ],
  ];
  for (const [name, message, change] of cases) {
    it(`withholds a leaf with this fault: ${name}`, async () => {
      const leaf = await byLibrary(change);
      assert.throws(() => lintLeaf(leaf, want), { code: 'ERR_BUG', message });
    });
  }

  it('withholds a leaf that outlives its issuer', () => {
    const issuerValidity = { notBeforeMs: NOT_BEFORE, notAfterMs: NOT_AFTER - 1000 };
    assert.throws(() => lintLeaf(minted(), { ...want, issuerValidity }), /outlives/);
  });

  it('withholds a leaf of any one flipped bit outside the signature', () => {
    const leaf = minted();
    const tbs = createLeafTemplate(want.issuer)(want.fields);
    const signatureAt = leaf.indexOf(tbs) + tbs.length + signatureAlgorithm.length + 3;
    for (let at = 0; at < signatureAt; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const broken = Buffer.from(leaf);
        broken[at] = (broken[at] ?? 0) ^ (1 << bit);
        assert.throws(() => lintLeaf(broken, want), { code: 'ERR_BUG' }, `byte ${at}, bit ${bit}`);
      }
    }
  });

  it('withholds a leaf that is cut short or has something behind it', () => {
    const leaf = minted();
    for (let length = 0; length < leaf.length; length++) {
      assert.throws(() => lintLeaf(leaf.subarray(0, length), want), { code: 'ERR_BUG' });
    }
    assert.throws(() => lintLeaf(Buffer.concat([leaf, Buffer.of(0)]), want), { code: 'ERR_BUG' });
    const unsigned = assembleCertificate(
      createLeafTemplate(want.issuer)(want.fields),
      signatureAlgorithm,
      Buffer.alloc(0),
    );
    assert.throws(() => lintLeaf(unsigned, want), /4\.1\.1\.3/);
  });

  it('ends any bytes with ERR_BUG, inside a certificate too', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        for (const input of [Buffer.from(bytes), der(TAG.sequence, der(TAG.sequence, bytes))]) {
          try {
            lintLeaf(input, want);
            assert.fail('passed');
          } catch (thrown) {
            assert.ok(
              thrown instanceof IdentityError && thrown.code === 'ERR_BUG',
              errorText(thrown),
            );
          }
        }
      }),
    );
  });
});
