import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dnsNameFault } from './dns-name.ts';

describe('dnsNameFault()', () => {
  for (const name of [
    'a',
    'web.internal',
    'A-1.b',
    '*.example.com',
    'xn--bcher-kva.de',
    '1.2.3.x',
  ]) {
    it(`takes ${name}`, () => assert.equal(dnsNameFault(name), undefined));
  }

  const FAULTS: readonly (readonly [name: string, fault: RegExp])[] = [
    ['', /empty$/],
    ['a..b', /empty label/],
    ['a.', /empty label/],
    ['.a', /empty label/],
    ['*', /whole first label/],
    ['*.', /empty label/],
    ['a.*.b', /whole first label/],
    ['w*.b', /whole first label/],
    ['*.*.b', /whole first label/],
    ['-a.b', /not letters, digits and inner hyphens/],
    ['a-.b', /not letters/],
    ['a_b', /not letters/],
    ['bücher.de', /not letters/],
    ['a b', /not letters/],
    ['10.0.0.1', /an address/],
    [`${'a'.repeat(64)}.b`, /a label has 64 bytes, at most 63/],
    [`${'a.'.repeat(127)}b`, /255 bytes, at most 253/],
  ];
  for (const [name, fault] of FAULTS) {
    it(`refuses ${name.slice(0, 20) || 'nothing'}`, () => {
      assert.match(dnsNameFault(name) ?? '', fault);
    });
  }

  it('holds every character against letters, digits and hyphens', () => {
    for (let code = 0; code < 0x250; code++) {
      const c = String.fromCharCode(code);
      // A dot divides, so it makes another good name.
      assert.equal(dnsNameFault(`a${c}b`) === undefined, /[A-Za-z0-9.-]/.test(c), `U+${code}`);
    }
  });
});
