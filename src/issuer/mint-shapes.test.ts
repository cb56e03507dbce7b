import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { DAY_MS, issuerConfig, issuerDeps, opensslVerify, WEB } from '../../test/support/issuer.ts';
import { dnsNameFault } from '../identity/dns-name.ts';
import { parseSpiffeId } from '../identity/spiffe-id.ts';
import type { X509Svid } from '../identity/svid.ts';
import { openIssuer, type Issuer } from './issuer.ts';
import { loadX509Library } from './x509-library.ts';

const x509 = await loadX509Library();

const leafOf = (svid: X509Svid) => Buffer.from(svid.chain[0] ?? []);
const nodeView = (svid: X509Svid) => new X509Certificate(leafOf(svid));
const libraryView = (svid: X509Svid) => new x509.X509Certificate(leafOf(svid));
const uriOfLength = (length: number) =>
  parseSpiffeId(`spiffe://example.org/${'a'.repeat(length - 'spiffe://example.org/'.length)}`);

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
