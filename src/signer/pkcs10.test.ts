import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { newKey } from '../../test/support/node-requests.ts';
import { der, TAG } from '../core/der.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { createSigningRequest } from '../issuer/signing-request.ts';
import { keyIdIn, parseCaRequest } from './pkcs10.ts';

const DOMAIN = parseTrustDomain('example.org');
const REFUSED = { code: 'ERR_BAD_REQUEST' };

/** A request that OpenSSL makes. */
function openssl(
  extensions: readonly string[],
  { key = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'], subject = '/CN=Credence node n1' } = {},
): Buffer {
  return execFileSync(
    'openssl',
    [
      ...['req', '-new', '-newkey', ...key, '-nodes', '-keyout', '/dev/null', '-outform', 'DER'],
      ...['-config', '/dev/null', '-subj', subject],
      ...extensions.flatMap((one) => ['-addext', one]),
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
}

const CONSTRAINTS = 'basicConstraints=critical,CA:TRUE,pathlen:0';
const USAGE = 'keyUsage=critical,keyCertSign,cRLSign';
const NAME = 'subjectAltName=URI:spiffe://example.org';

describe('parseCaRequest()', () => {
  it('reads what a daemon asks for, with each kind of key', async () => {
    for (const type of ['ec-p256', 'rsa-2048'] as const) {
      const key = await newKey(type);
      const read = parseCaRequest(await createSigningRequest(key, DOMAIN, 'Credence node n1'));
      assert.ok(read.spki.equals(key.spki));
      const { commonName, organization, uris } = read;
      assert.deepEqual(
        { commonName, organization, uris },
        {
          commonName: 'Credence node n1',
          organization: 'example.org',
          uris: ['spiffe://example.org'],
        },
      );
    }
  });

  it('reads the same of OpenSSL', () => {
    const read = parseCaRequest(openssl([CONSTRAINTS, USAGE, NAME]));
    assert.deepEqual([read.commonName, read.organization], ['Credence node n1', undefined]);
  });

  const cases: readonly (readonly [string, readonly string[], Parameters<typeof openssl>[1]?])[] = [
    ['no extensions', []],
    ['no CA', ['basicConstraints=critical,CA:FALSE', USAGE, NAME]],
    ['a CA of any path length', ['basicConstraints=critical,CA:TRUE', USAGE, NAME]],
    ['a CA above others', ['basicConstraints=critical,CA:TRUE,pathlen:1', USAGE, NAME]],
    ['more usages', [CONSTRAINTS, `${USAGE},digitalSignature`, NAME]],
    ['fewer usages', [CONSTRAINTS, 'keyUsage=critical,keyCertSign', NAME]],
    ['a DNS name', [CONSTRAINTS, USAGE, `${NAME},DNS:example.org`]],
    ['an extended key usage', [CONSTRAINTS, USAGE, NAME, 'extendedKeyUsage=serverAuth']],
    [
      'a key of another curve',
      [CONSTRAINTS, USAGE, NAME],
      { key: ['ec', '-pkeyopt', 'ec_paramgen_curve:secp521r1'] },
    ],
    ['an RSA key of 1,024 bits', [CONSTRAINTS, USAGE, NAME], { key: ['rsa:1024'] }],
    ['two common names', [CONSTRAINTS, USAGE, NAME], { subject: '/CN=Credence node n1/CN=b' }],
    ['another part of a name', [CONSTRAINTS, USAGE, NAME], { subject: '/CN=a/OU=b' }],
  ];
  for (const [what, extensions, options] of cases) {
    it(`refuses ${what}`, () => {
      assert.throws(() => parseCaRequest(openssl(extensions, options)), REFUSED);
    });
  }

  it('refuses a point that is compressed: the same key in another spelling', async () => {
    const key = await newKey();
    const point = key.spki.subarray(-65);
    const parity = Buffer.of(0, 2 + ((point[64] ?? 0) & 1));
    const algorithm = key.spki.subarray(2, 23);
    const bits = der(TAG.bitString, parity, point.subarray(1, 33));
    const spki = der(TAG.sequence, algorithm, bits);
    const request = await createSigningRequest({ ...key, spki }, DOMAIN);
    assert.throws(() => parseCaRequest(request), /not in the usual encoding/);
  });

  it('refuses every change of a single byte', async () => {
    const request = await createSigningRequest(await newKey(), DOMAIN, 'Credence node n1');
    for (let at = 0; at < request.length; at++) {
      const forged = Buffer.from(request);
      forged[at] = (forged[at] ?? 0) ^ 1;
      assert.throws(() => parseCaRequest(forged), REFUSED, `byte ${at}`);
    }
  });

  it('refuses what is cut short or goes on, and never throws anything else', async () => {
    const request = await createSigningRequest(await newKey(), DOMAIN);
    fc.assert(
      fc.property(fc.nat(request.length - 1), fc.uint8Array({ minLength: 1 }), (end, more) => {
        assert.throws(() => parseCaRequest(request.subarray(0, end)), REFUSED);
        assert.throws(() => parseCaRequest(Buffer.concat([request, more])), REFUSED);
        assert.throws(() => parseCaRequest(Buffer.from(more)), REFUSED);
        keyIdIn(Buffer.from(more));
      }),
    );
  });

  it('refuses a request of 9,000 bytes unread', () => {
    assert.throws(() => parseCaRequest(Buffer.alloc(9000, 0x30)), /has 9000 bytes, at most 8192/);
  });
});
