import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { seededRandom } from '../../test/support/fake-random.ts';
import { newKey } from '../../test/support/node-requests.ts';
import { readCertificate } from '../identity/certificate.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { buildCaCertificate } from '../issuer/ca-builder.ts';
import { KEY_TYPES, type KeyType } from '../issuer/key-type.ts';
import { generatePrivateKey, localSigningKey } from '../issuer/keys.ts';
import { createSerials, validityFrom } from '../issuer/profile.ts';
import { subjectKeyId } from '../issuer/subject-key-id.ts';
import { signNodeCa } from './node-ca.ts';

async function make(rootType: KeyType, trustDomainText = 'example.org') {
  const trustDomain = parseTrustDomain(trustDomainText);
  const nowMs = Date.now();
  const nextSerial = createSerials(seededRandom());
  const rootKey = localSigningKey(await generatePrivateKey(rootType), rootType);
  const root = await buildCaCertificate({
    ...{ trustDomain, key: rootKey, serial: nextSerial(), issuer: undefined },
    validity: validityFrom(nowMs, 86_400_000, Infinity),
    nameConstraint: false,
  });
  const above = { certificate: root, key: rootKey, chain: [root], validity: root.validity };
  const { spki } = await newKey();
  const ca = await signNodeCa({
    ...{ trustDomain, serial: nextSerial(), issuer: above },
    candidate: { node: 'n1', spki, keyId: subjectKeyId(spki) },
    validity: validityFrom(nowMs, 3_600_000, root.validity.notAfterMs),
  });
  return { root, ca, spki };
}

describe('signNodeCa()', () => {
  for (const type of Object.keys(KEY_TYPES) as KeyType[]) {
    if (type === 'rsa-3072' || type === 'rsa-4096') continue;
    it(`signs with a root of type ${type} what OpenSSL finds to be a CA for leaves`, async (t) => {
      const { root, ca, spki } = await make(type);
      const folder = mkdtempSync(join(tmpdir(), 'credence-node-ca-'));
      t.after(() => rmSync(folder, { recursive: true }));
      writeFileSync(join(folder, 'root'), root.pem);
      writeFileSync(join(folder, 'ca'), ca.pem);
      const openssl = (...args: string[]) =>
        execFileSync('openssl', args, { cwd: folder, encoding: 'utf8' });
      assert.match(openssl('verify', '-x509_strict', '-CAfile', 'root', 'ca'), /ca: OK/);
      const text = openssl('x509', '-in', 'ca', '-noout', '-text');
      assert.match(text, /Subject: O = example\.org, CN = Credence node n1\n/);
      assert.match(text, /Basic Constraints: critical\s+CA:TRUE, pathlen:0\n/);
      assert.match(text, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
      assert.match(text, /Name Constraints: critical\s+Permitted:\s+URI:example\.org\n/);
      assert.match(text, /Subject Alternative Name: *\s+URI:spiffe:\/\/example\.org\n/);
      const facts = readCertificate(ca.der);
      assert.ok(facts.publicKey.equals(spki));
      assert.ok(facts.authorityKeyId?.equals(root.keyId));
      assert.ok(facts.subjectKeyId?.equals(subjectKeyId(spki)));
    });
  }

  it('leaves the organization out where a trust domain is longer than one may be', async () => {
    const { ca } = await make('ec-p256', `${'a'.repeat(70)}.example`);
    assert.equal(ca.subjectText, 'CN=Credence node n1');
  });
});
