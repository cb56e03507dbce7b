import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { issuerConfig, issuerDeps, openssl, WEB } from '../../test/support/issuer.ts';
import { openIssuer } from './issuer.ts';
import { loadX509Library } from './x509-library.ts';

const x509 = await loadX509Library();
const textOf = (der: Uint8Array) => openssl(['x509', '-inform', 'DER', '-noout', '-text'], der);

describe('the signing certificates', () => {
  async function authorities(t: TestContext) {
    const issuer = await openIssuer(issuerConfig(), issuerDeps());
    t.after(() => issuer.close());
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
