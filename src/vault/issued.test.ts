import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { foreignCas, type ForeignCa } from '../../test/support/upstream.ts';
import { IdentityError } from '../core/errors.ts';
import { readCertificates } from '../issuer/upstream-certificates.ts';
import { readIssued } from './issued.ts';

describe('readIssued()', () => {
  const { make } = foreignCas();
  const root = make({ name: 'root' });
  const between = make({ name: 'between', issuer: root });
  const issuing = make({ name: 'issuing', issuer: between });
  const read = (data: Record<string, unknown>, known: readonly ForeignCa[] = []) =>
    readIssued(
      data,
      known.flatMap(({ cert }) => readCertificates(Buffer.from(cert), 'root.pem')),
    );
  const names = (ders: readonly Buffer[]) => ders.map((der) => new X509Certificate(der).subject);
  const answer = (...above: readonly ForeignCa[]) => ({
    certificate: issuing.cert.trim(),
    issuing_ca: between.cert.trim(),
    ca_chain: above.map(({ cert }) => cert.trim()),
  });
  const whole = ['CN=issuing', 'CN=between', 'CN=root'];

  it('gives the CA, what is above it, and the root', () => {
    const { chain, roots } = read(answer(issuing, between, root));
    assert.deepEqual(names(chain), whole);
    assert.deepEqual(names(roots), ['CN=root']);
  });

  it('does not mind the order, doubles, or the CA not being in the list', () => {
    for (const above of [[between, root], [root, between], [root, root, issuing], [root]]) {
      assert.deepEqual(names(read(answer(...above)).chain), whole);
    }
  });

  it('takes the root from elsewhere when the mount does not know it', () => {
    assert.throws(
      () => read(answer(issuing, between)),
      /the chain of the answer ends at CN=between: its issuer CN=root is not there/,
    );
    assert.deepEqual(names(read(answer(issuing, between), [root]).chain), whole);
  });

  it('ends at the nearest root where CAs have signed each other crosswise', () => {
    const old = make({ name: 'old root' });
    // The same name and key as `root`, signed by the old one: what `root` has signed is below both.
    const crossed = make({ name: 'root', issuer: old });
    assert.deepEqual(names(read(answer(issuing, between, crossed, old, root)).chain), whole);
  });

  it('refuses a chain in which a signature does not fit', () => {
    const impostor = make({ name: 'between' });
    assert.throws(
      () => read({ ...answer(root), issuing_ca: impostor.cert }),
      /ends at CN=issuing: its issuer CN=between is not there, or did not sign it/,
    );
  });

  it('refuses a root in the place of a CA that was asked for', () => {
    assert.throws(
      () => read({ certificate: root.cert, issuing_ca: root.cert, ca_chain: [] }),
      /is no good: CN=root has signed itself/,
    );
  });

  it('says what is not there, or is no certificate', () => {
    for (const certificate of [undefined, null, 5, '', 'x', '<html>', between.cert + root.cert]) {
      assert.throws(() => read({ ...answer(root), certificate }), {
        code: 'ERR_ISSUER',
        message:
          'the answer of sign-intermediate is no good: expected one certificate in PEM as certificate',
      });
    }
    const torn = issuing.cert.replace(/\n[^-]{20}/, '\n');
    assert.throws(() => read({ ...answer(root), certificate: torn }), /certificate cannot be read/);
    assert.throws(
      () => read({ ...answer(root), ca_chain: Array.from({ length: 40 }, () => root.cert) }),
      /ca_chain has 41 certificates, at most 32 are expected/,
    );
  });

  it('answers with a CA or ERR_ISSUER and nothing else', () => {
    const pem = fc.oneof(fc.constantFrom(root.cert, between.cert, issuing.cert, ''), fc.string());
    const data = fc.record(
      {
        certificate: fc.oneof(pem, fc.anything()),
        issuing_ca: fc.oneof(pem, fc.anything()),
        ca_chain: fc.oneof(fc.array(fc.oneof(pem, fc.anything()), { maxLength: 5 }), fc.anything()),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(data, (any) => {
        try {
          assert.ok(read(any).chain.length > 1);
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError, String(thrown));
          assert.equal(thrown.code, 'ERR_ISSUER');
        }
      }),
      { numRuns: 300 },
    );
  });
});
