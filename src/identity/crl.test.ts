import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { der, TAG } from '../core/der.ts';
import { IdentityError } from '../core/errors.ts';
import { readCrl } from './crl.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const ALGORITHM = hex('300a 0608 2a8648ce3d040302');
const ISSUER = hex('300c 310a 3008 0603 550403 0c01 61');
const time = (text: string) => der(TAG.utcTime, Buffer.from(text));
const [FROM, TO] = [time('260101000000Z'), time('260102000000Z')];
const extension = (oid: string, value: Buffer, ...critical: Buffer[]) =>
  der(TAG.sequence, der(TAG.oid, hex(oid)), ...critical, der(TAG.octetString, value));
const NUMBER = extension('551d14', der(TAG.integer, Buffer.of(7)));
const REASON = extension('551d15', der(TAG.enumerated, Buffer.of(1)));
const entry = (...more: Buffer[]) =>
  der(TAG.sequence, der(TAG.integer, Buffer.of(5)), FROM, ...more);

function crl(
  parts: {
    readonly version?: Buffer;
    readonly inner?: Buffer;
    readonly revoked?: Buffer[];
    readonly extensions?: Buffer[];
    readonly signature?: Buffer;
  } = {},
): Buffer {
  const { version = Buffer.of(1), inner = ALGORITHM, revoked, extensions } = parts;
  const tbs = der(
    TAG.sequence,
    ...[der(TAG.integer, version), inner, ISSUER, FROM, TO],
    ...(revoked ? [der(TAG.sequence, ...revoked)] : []),
    ...(extensions ? [der(TAG.crlExtensions, der(TAG.sequence, ...extensions))] : []),
  );
  const signature = parts.signature ?? Buffer.of(0, 1, 2);
  return der(TAG.sequence, tbs, ALGORITHM, der(TAG.bitString, signature));
}

describe('readCrl()', () => {
  it('says whose it is, until when, and what is revoked', () => {
    const keyId = der(TAG.sequence, der(TAG.authorityKeyIdValue, hex('abcd')));
    const extensions = [extension('551d23', keyId), NUMBER];
    const facts = readCrl(
      crl({ revoked: [entry(der(TAG.sequence, REASON)), entry()], extensions }),
    );
    assert.equal(facts.thisUpdateMs, Date.UTC(2026, 0, 1));
    assert.equal(facts.nextUpdateMs, Date.UTC(2026, 0, 2));
    assert.ok(facts.issuer.equals(ISSUER));
    assert.deepEqual(facts.authorityKeyId, hex('abcd'));
    assert.deepEqual(facts.number, Buffer.of(7));
    assert.deepEqual(
      facts.revoked.map(({ serial, reason }) => [serial, reason]),
      [
        ['05', 1],
        ['05', 0],
      ],
    );
    assert.deepEqual(facts.signature, Buffer.of(1, 2));
  });

  it('reads one that revokes nothing', () => {
    assert.deepEqual(readCrl(crl()).revoked, []);
    assert.equal(readCrl(crl()).authorityKeyId, undefined);
  });

  const critical = der(TAG.boolean, Buffer.of(0xff));
  const faults: readonly (readonly [string, Buffer, RegExp])[] = [
    ['of version 1', crl({ version: Buffer.of(0) }), /version 2/],
    ['with two algorithms', crl({ inner: hex('300a 0608 2a8648ce3d040303') }), /two algorithms/],
    ['with an empty list', crl({ revoked: [] }), /there and empty/],
    ['with an empty list of extensions', crl({ extensions: [] }), /there and empty/],
    // What Envoy refuses since 1.38.
    ['with an entry of that kind', crl({ revoked: [entry(der(TAG.sequence))] }), /and empty/],
    [
      'with a critical extension',
      crl({ extensions: [extension('551d1c', NUMBER, critical)] }),
      /critical/,
    ],
    ['with an extension twice', crl({ extensions: [NUMBER, NUMBER] }), /twice/],
    ['with bits too many', crl({ signature: Buffer.of(3, 8) }), /whole number/],
    ['with something behind it', Buffer.concat([crl(), Buffer.of(0)]), /too many/],
    ['that is empty', Buffer.alloc(0), /it ends/],
  ];
  for (const [what, bytes, why] of faults) {
    it(`refuses one ${what}`, () => {
      assert.throws(() => readCrl(bytes), { code: 'ERR_BAD_REQUEST', message: why });
    });
  }

  it('reads or refuses whatever it is given, cut or changed anywhere', () => {
    const good = crl({ revoked: [entry(der(TAG.sequence, REASON))], extensions: [NUMBER] });
    const survives = (bytes: Uint8Array) => {
      try {
        readCrl(bytes);
      } catch (thrown) {
        assert.ok(thrown instanceof IdentityError && thrown.code === 'ERR_BAD_REQUEST');
      }
    };
    const where = fc.nat(good.length - 1);
    fc.assert(
      fc.property(where, fc.nat(255), (at, byte) => {
        const changed = Buffer.from(good);
        changed[at] = byte;
        survives(changed);
        survives(good.subarray(0, at));
      }),
      { numRuns: 3000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), survives));
  });
});
