import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { createForeignCas, type ForeignCaOptions } from '../../test/support/upstream.ts';
import { openssl } from '../../test/support/issuer.ts';
import { systemClock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { parseUpstream } from './upstream-ca.ts';

const DAY_MS = 86_400_000;
const folder = mkdtempSync(join(tmpdir(), 'credence-upstream-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const make = createForeignCas(folder);
const CA = 'basicConstraints=critical,CA:true';
const USAGE = 'keyUsage=critical,keyCertSign,cRLSign';
const root = make({ name: 'root' });
const issuing = make({ name: 'issuing', issuer: root });

const FILES = { certFile: 'tls.crt', keyFile: 'tls.key', bundleFile: 'ca.crt' };

function parse(parts: { certs?: string; key?: string; bundle?: string; nowMs?: number }) {
  const { certs = issuing.cert, key = issuing.key, bundle = root.cert } = parts;
  const texts = { certs: Buffer.from(certs), key: Buffer.from(key), bundle: Buffer.from(bundle) };
  const trustDomain = parseTrustDomain('example.org');
  return parseUpstream(texts, FILES, { trustDomain, nowMs: parts.nowMs ?? systemClock.now() });
}

/** An issuing CA with these properties below the usual root. */
function parseIssuing(options: Partial<ForeignCaOptions>) {
  const ca = make({ name: 'issuing', issuer: root, ...options });
  return parse({ certs: ca.cert, key: ca.key });
}

const says = (text: RegExp) => (thrown: unknown) => {
  assert.ok(thrown instanceof IdentityError);
  assert.equal(thrown.code, 'ERR_KEY_STORE');
  assert.match(thrown.message, text);
  return true;
};

describe('parseUpstream()', () => {
  it('takes an issuing CA below a root', () => {
    const { authority, roots, doubts } = parse({});
    assert.equal(authority.certificate.subjectText, 'CN=issuing');
    assert.deepEqual(
      authority.chain.map(({ subjectText }) => subjectText),
      ['CN=issuing'],
    );
    assert.deepEqual(
      roots.map(({ subjectText }) => subjectText),
      ['CN=root'],
    );
    assert.deepEqual(doubts, []);
  });

  it('sends what is between issuing CA and root, and not the root that stands behind it', () => {
    const middle = make({ name: 'middle', issuer: root });
    const low = make({ name: 'low', issuer: middle });
    const { authority } = parse({ certs: low.cert + middle.cert + root.cert, key: low.key });
    assert.deepEqual(
      authority.chain.map(({ subjectText }) => subjectText),
      ['CN=low', 'CN=middle'],
    );
  });

  it('takes a root that signs by itself, as a self-signed issuer of cert-manager makes it', () => {
    const { authority } = parse({ certs: root.cert, key: root.key });
    assert.deepEqual(authority.chain, []);
  });

  it('takes a key in each of the forms that tools write', () => {
    const sec1 = openssl(['ec'], issuing.key).replace(/^(?:read EC key|writing EC key)\n/gm, '');
    assert.match(sec1, /BEGIN EC PRIVATE KEY/);
    assert.equal(parse({ key: sec1 }).authority.key.type, 'ec-p256');
    const rsa = make({ name: 'rsa', issuer: root, newKey: ['rsa:2048'] });
    const pkcs1 = openssl(['rsa', '-traditional'], rsa.key).replace(/^writing RSA key\n/gm, '');
    assert.match(pkcs1, /BEGIN RSA PRIVATE KEY/);
    assert.equal(parse({ certs: rsa.cert, key: pkcs1 }).authority.key.type, 'rsa-2048');
  });

  it('ends its signing with the first end on the way up', () => {
    const short = make({ name: 'short root', days: 2 });
    const ca = make({ name: 'issuing', issuer: short, days: 20 });
    const nowMs = systemClock.now();
    const { authority } = parse({ certs: ca.cert, key: ca.key, bundle: short.cert });
    assert.ok(authority.validity.notAfterMs <= nowMs + 2 * DAY_MS + 1000);
    assert.ok(authority.certificate.validity.notAfterMs > nowMs + 19 * DAY_MS);
  });

  it('takes the SPIFFE ID of the trust domain or none, and no other name', () => {
    const named = (uri: string) => ({ extensions: [CA, USAGE, `subjectAltName=${uri}`] });
    assert.ok(parseIssuing(named('URI:spiffe://example.org')));
    for (const uri of [
      'URI:spiffe://other.org',
      'URI:spiffe://example.org/web',
      'URI:spiffe://example.org/',
      'URI:https://example.org',
      'URI:spiffe://example.org,URI:spiffe://example.org',
    ]) {
      const expected =
        /X5-24, X5-25: expected spiffe:\/\/example\.org as its one URI name, or none/;
      assert.throws(() => parseIssuing(named(uri)), says(expected), uri);
    }
  });

  it('refuses a certificate that is no CA', () => {
    const leaf = { extensions: ['basicConstraints=critical,CA:false', USAGE] };
    assert.throws(() => parseIssuing(leaf), says(/tls\.crt: CN=issuing: X5-20: expected a CA/));
  });

  it('refuses a CA that may not sign certificates', () => {
    for (const extensions of [[CA, 'keyUsage=critical,cRLSign'], [CA]]) {
      assert.throws(() => parseIssuing({ extensions }), says(/X5-20: expected keyCertSign/));
    }
  });

  it('refuses a path that is longer than one of its CAs allows', () => {
    const flat = make({ name: 'flat', extensions: [`${CA},pathlen:0`, USAGE] });
    const below = make({ name: 'issuing', issuer: flat, extensions: [`${CA},pathlen:0`, USAGE] });
    assert.throws(
      () => parse({ certs: below.cert, key: below.key, bundle: flat.cert }),
      says(/ca\.crt: CN=flat: its path length is 0, but 1 CAs are below it/),
    );
    // It may sign leaves itself.
    assert.ok(parse({ certs: flat.cert, key: flat.key, bundle: flat.cert }));
  });

  it('refuses the key of another certificate', () => {
    const expected = /tls\.key: it is not the key of CN=issuing, the first certificate in tls\.crt/;
    assert.throws(() => parse({ key: root.key }), says(expected));
  });

  it('refuses keys that nobody can sign with here', () => {
    const odd = make({ name: 'odd', issuer: root, newKey: ['ed25519'] });
    assert.throws(
      () => parse({ certs: odd.cert, key: odd.key }),
      says(/tls\.key: expected a key of type ec-p256/),
    );
    assert.throws(() => parse({ key: 'none' }), says(/tls\.key: expected one private key in PEM/));
    const locked = openssl(['pkcs8', '-topk8', '-passout', 'pass:x'], issuing.key);
    assert.throws(() => parse({ key: locked }), says(/without a passphrase/));
  });

  it('refuses a chain that does not end at a root of the bundle', () => {
    const other = make({ name: 'root' });
    const expected =
      /tls\.crt: the chain ends at CN=issuing, expected its issuer CN=root behind it/;
    assert.throws(() => parse({ bundle: other.cert }), says(expected));
  });

  it('refuses a chain that is out of order', () => {
    const middle = make({ name: 'middle', issuer: root });
    const low = make({ name: 'low', issuer: middle });
    assert.throws(
      () => parse({ certs: low.cert + issuing.cert + middle.cert, key: low.key }),
      says(/tls\.crt: expected the issuer of CN=low behind it, found CN=issuing/),
    );
  });

  it('refuses a trust anchor that is not self-signed (X5-64)', () => {
    assert.throws(
      () => parse({ bundle: issuing.cert }),
      says(/ca\.crt: CN=issuing: expected a self-signed root/),
    );
  });

  it('refuses what is not valid now', () => {
    const nowMs = systemClock.now();
    assert.throws(() => parse({ nowMs: nowMs + 31 * DAY_MS }), says(/expired at/));
    assert.throws(() => parse({ nowMs: nowMs - DAY_MS }), says(/it is valid from/));
  });

  it('leaves out a root that is past its time beside one that is not', () => {
    const short = make({ name: 'short', days: 1 });
    const nowMs = systemClock.now() + 2 * DAY_MS;
    const { roots, doubts } = parse({ bundle: short.cert + root.cert, nowMs });
    assert.equal(roots.length, 1);
    assert.match(doubts.join(), /ca\.crt: CN=short is left out: it expired/);
  });

  it('refuses an extended key usage that would make the leaves useless (X5-30)', () => {
    const only = (usage: string) => ({ extensions: [CA, USAGE, `extendedKeyUsage=${usage}`] });
    assert.throws(() => parseIssuing(only('serverAuth')), says(/X5-30/));
    assert.ok(parseIssuing(only('serverAuth,clientAuth')));
    assert.ok(parseIssuing(only('anyExtendedKeyUsage')));
  });

  it('refuses critical extensions that it cannot honour', () => {
    const names = 'nameConstraints=critical,permitted;DNS:example.org';
    assert.throws(() => parseIssuing({ extensions: [CA, USAGE, names] }), says(/X5-29/));
    const odd = '1.2.3.4=critical,ASN1:NULL';
    assert.throws(() => parseIssuing({ extensions: [CA, USAGE, odd] }), says(/OID 2a0304 in hex/));
  });

  it('refuses signatures with SHA-1', () => {
    assert.throws(() => parseIssuing({ digest: 'sha1' }), says(/MD5 or SHA-1/));
  });

  it('takes a CA that may do more than sign, with a doubt (X5-22)', () => {
    const usage = 'keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign';
    assert.match(
      parseIssuing({ extensions: [CA, usage] }).doubts.join(),
      /tls\.crt: CN=issuing: X5-22/,
    );
  });

  it('refuses texts that are cut short or hold something else', () => {
    assert.throws(() => parse({ certs: '' }), says(/tls\.crt: expected certificates in PEM/));
    assert.throws(() => parse({ bundle: root.key }), says(/ca\.crt: expected certificates in PEM/));
    assert.throws(() => parse({ certs: issuing.cert + issuing.key }), says(/found something else/));
    const cut = root.cert.slice(0, -40);
    assert.throws(() => parse({ certs: issuing.cert + cut }), says(/certificate 2 is cut short/));
  });

  it('fails with its own error alone, whatever the files hold', () => {
    const broken = (text: string) =>
      fc
        .tuple(fc.nat(text.length - 1), fc.string({ unit: 'binary', maxLength: 3 }))
        .map(([at, junk]) => text.slice(0, at) + junk + text.slice(at + junk.length));
    const parts = fc.record(
      { certs: broken(issuing.cert), key: broken(issuing.key), bundle: broken(root.cert) },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(parts, (changed) => {
        try {
          parse(changed);
        } catch (thrown) {
          assert.ok(
            thrown instanceof IdentityError && thrown.code === 'ERR_KEY_STORE',
            String(thrown),
          );
        }
      }),
    );
  });
});
