import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from '../core/errors.ts';
import {
  MAX_ID_BYTES,
  parseSpiffeId,
  parseTrustDomain,
  pathSegmentFault,
  spiffeIdFault,
  trustDomainFault,
  trustDomainId,
  trustDomainOf,
} from './spiffe-id.ts';

const refuses = (id: string) => assert.throws(() => parseSpiffeId(id), { code: 'ERR_BAD_REQUEST' });
const accepts = (id: string) => assert.equal(parseSpiffeId(id), id);

/** Every code point of Latin-1, and some beyond it that fold or normalise to ASCII. */
const CHARACTERS = [
  ...Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)),
  ...['\u0131', '\u017f', '\u212a', '\uff0e', '\uff0f', '\ufeff', '\ud800', '\u{1f600}'],
];
const TRUST_DOMAIN_CHARACTERS = new Set('abcdefghijklmnopqrstuvwxyz0123456789.-_');
const PATH_CHARACTERS = new Set([
  ...TRUST_DOMAIN_CHARACTERS,
  ...Array.from({ length: 26 }, (_, n) => String.fromCharCode(65 + n)),
]);

describe('parseSpiffeId()', () => {
  it('takes the one scheme, in the one spelling (ID-01)', () => {
    accepts('spiffe://td/a');
    for (const id of ['http://td/a', 'spiffe:/td/a', 'spiffe:td/a', 's', '', '//td/a', 'td/a']) {
      refuses(id);
    }
    for (const id of ['SPIFFE://td/a', 'Spiffe://td/a', ' spiffe://td/a', 'spiffe ://td/a']) {
      refuses(id);
    }
  });

  it('refuses an empty trust domain (ID-02)', () => {
    for (const id of ['spiffe://', 'spiffe:///', 'spiffe:///a']) refuses(id);
  });

  it('refuses query and fragment, empty ones too (ID-03)', () => {
    for (const end of ['?x', '#x', '?', '#', '?x#y']) {
      refuses(`spiffe://td/a${end}`);
      refuses(`spiffe://td${end}`);
    }
  });

  it('takes only the allowed characters in the trust domain (ID-04, ID-08)', () => {
    for (const character of CHARACTERS) {
      for (const domain of [character, `a${character}`, `${character}b`, `a${character}b`]) {
        // A slash ends the trust domain; what follows is a path.
        const expected = TRUST_DOMAIN_CHARACTERS.has(character);
        assert.equal(trustDomainFault(domain) === undefined, expected, JSON.stringify(domain));
        if (character === '/') continue;
        const id = `spiffe://${domain}/p`;
        assert.equal(spiffeIdFault(id) === undefined, expected, JSON.stringify(id));
      }
    }
  });

  it('takes only the allowed characters in the path (ID-04, ID-16)', () => {
    for (const character of CHARACTERS) {
      for (const segment of [`a${character}`, `${character}b`, `a${character}b`]) {
        const expected = PATH_CHARACTERS.has(character);
        assert.equal(pathSegmentFault(segment) === undefined, expected, JSON.stringify(segment));
        if (character === '/') continue;
        for (const id of [`spiffe://td/${segment}`, `spiffe://td/x/${segment}/y`]) {
          assert.equal(spiffeIdFault(id) === undefined, expected, JSON.stringify(id));
        }
      }
    }
  });

  it('refuses a line feed at the end, which $ of a pattern may pass over (ID-04)', () => {
    refuses('spiffe://td/a\n');
    refuses('spiffe://td\n/a');
    assert.throws(() => parseTrustDomain('td\n'), { code: 'ERR_BAD_REQUEST' });
  });

  it('refuses user names and ports (ID-05, ID-06)', () => {
    for (const host of ['u@td', '@td', 'u:p@td', 'td:80', 'td:', ':80']) {
      refuses(`spiffe://${host}/a`);
    }
  });

  it('does not fold capitals of a trust domain (ID-07)', () => {
    for (const host of ['TD', 'Td', 'tD']) refuses(`spiffe://${host}/a`);
    assert.throws(() => parseTrustDomain('TD'), /capitals are not allowed/);
  });

  it('refuses percent-encoding, wherever it stands (ID-09, ID-13)', () => {
    for (const id of [
      'spiffe://%62ad/a',
      'spiffe://td/a%2Fb',
      'spiffe://td/%41',
      'spiffe://td/%',
    ]) {
      refuses(id);
    }
  });

  it('gives names that look like addresses no meaning (ID-10)', () => {
    for (const host of ['1.2.3.4', 'a..b', '-x', '_', '.', '..', '0', 'xn--a']) {
      accepts(`spiffe://${host}/a`);
      assert.equal(parseTrustDomain(host), host);
    }
    refuses('spiffe://[::1]/a');
  });

  it('refuses empty segments and those of one or two dots (ID-14)', () => {
    for (const path of ['//', '//a', '/a//b', '/./a', '/a/.', '/../a', '/a/..', '/a/../b', '/.']) {
      refuses(`spiffe://td${path}`);
    }
    for (const path of ['/...', '/.a', '/..a', '/a.', '/a..', '/....', '/a/.../b', '/-', '/_']) {
      accepts(`spiffe://td${path}`);
    }
  });

  it('refuses a slash at the end, and an ID without a path (ID-15, X5-03)', () => {
    for (const id of ['spiffe://td/', 'spiffe://td/a/', 'spiffe://td']) refuses(id);
    assert.throws(() => parseSpiffeId('spiffe://td'), /it has no path/);
  });

  it('takes paths of any depth (ID-17)', () => {
    accepts(`spiffe://td${'/a'.repeat(1000)}`);
  });

  it('takes an ID of 2048 bytes, all counted, and none of 2049 (ID-18, ID-19, ID-20)', () => {
    const head = `spiffe://${'d'.repeat(255)}/`;
    const longest = head + 'p'.repeat(2048 - head.length);
    assert.equal(longest.length, MAX_ID_BYTES);
    accepts(longest);
    assert.throws(
      () => parseSpiffeId(`${longest}p`),
      /it has 2049 bytes, at most 2048 are allowed/,
    );
    refuses('x'.repeat(10_000_000));
  });

  it('takes a trust domain of 255 bytes and none of 256 (ID-21)', () => {
    const longest = 'd'.repeat(255);
    assert.equal(parseTrustDomain(longest), longest);
    accepts(`spiffe://${longest}/a`);
    refuses(`spiffe://${longest}d/a`);
    assert.throws(() => parseTrustDomain(`${longest}d`), /it has 256 bytes, at most 255/);
  });

  it('keeps an ID as it is, capitals of its path included', () => {
    accepts('spiffe://td/A/a');
    assert.notEqual(parseSpiffeId('spiffe://td/A'), parseSpiffeId('spiffe://td/a'));
  });

  it('refuses or returns the very text, whatever it is given', () => {
    const pieces = fc.constantFrom(
      'spiffe://',
      'spiffe:',
      '/',
      '.',
      '..',
      'td',
      'A',
      '%',
      '@',
      ':',
    );
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(pieces).map((parts) => parts.join('')),
      fc.array(pieces).map((parts) => `spiffe://td/${parts.join('')}`),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          assert.equal(parseSpiffeId(text), text);
          assert.match(text, /^spiffe:\/\/[a-z0-9._-]{1,255}(\/[A-Za-z0-9._-]+)+$/);
        } catch (error) {
          assert.ok(error instanceof IdentityError && error.code === 'ERR_BAD_REQUEST');
        }
      }),
    );
  });
});

describe('parseTrustDomain()', () => {
  it('wants the name alone, and says so', () => {
    assert.throws(() => parseTrustDomain('spiffe://td'), /write the name without spiffe:\/\//);
    assert.throws(() => parseTrustDomain(''), /it is empty/);
    for (const text of ['td/', 'td/a', ' td', 'td ', 'td\0']) {
      assert.throws(() => parseTrustDomain(text), { code: 'ERR_BAD_REQUEST' });
    }
  });
});

describe('the trust domain of an ID', () => {
  it('is what stands before the path', () => {
    const id = parseSpiffeId('spiffe://example.org/a/b');
    assert.equal(trustDomainOf(id), 'example.org');
    assert.equal(trustDomainId(trustDomainOf(id)), 'spiffe://example.org');
  });
});
