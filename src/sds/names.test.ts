import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseResourceName, type AliasNames } from './names.ts';

const ALIASES: AliasNames = { svid: 'default', bundle: 'ROOTCA', allBundles: 'ALL' };
const kindOf = (name: string) => parseResourceName(name, ALIASES).kind;

describe('parseResourceName()', () => {
  it('takes the configurable names for the first identity and the bundles', () => {
    assert.deepEqual(parseResourceName('default', ALIASES), { kind: 'svid', id: undefined });
    assert.deepEqual(parseResourceName('ROOTCA', ALIASES), {
      kind: 'bundle',
      trustDomain: undefined,
    });
    assert.deepEqual(parseResourceName('ALL', ALIASES), { kind: 'all-bundles' });
  });

  it('takes other names for them when they are configured', () => {
    const aliases = { svid: 'me', bundle: 'ALL', allBundles: 'everybody' };
    assert.equal(parseResourceName('me', aliases).kind, 'svid');
    assert.equal(parseResourceName('ALL', aliases).kind, 'bundle');
    assert.equal(parseResourceName('everybody', aliases).kind, 'all-bundles');
    assert.equal(parseResourceName('default', aliases).kind, 'unknown');
  });

  it('takes an ID with a path for a certificate, one without for a bundle', () => {
    assert.deepEqual(parseResourceName('spiffe://example.org/ns/a/sa/b', ALIASES), {
      kind: 'svid',
      id: 'spiffe://example.org/ns/a/sa/b',
    });
    assert.deepEqual(parseResourceName('spiffe://example.org', ALIASES), {
      kind: 'bundle',
      trustDomain: 'example.org',
    });
  });

  const others: readonly (readonly [name: string, servedBy: RegExp])[] = [
    ['file-cert:/a~/b', /the Istio agent/],
    ['file-root:system', /the Istio agent/],
    ['kubernetes://secret', /istiod/],
    ['builtin://', /istiod/],
    ['sds://x', /credential-uds/],
  ];
  for (const [name, servedBy] of others) {
    it(`says who serves ${name}`, () => {
      const parsed = parseResourceName(name, ALIASES);
      assert.ok(parsed.kind === 'elsewhere');
      assert.match(parsed.servedBy, servedBy);
    });
  }

  const none = [
    ...['', '*', 'Default', 'default ', 'rootca', 'null', 'spiffe://', 'spiffe:///web'],
    ...['spiffe://example.org/', 'spiffe://example.org//web', 'spiffe://Example.org/web'],
    ...['spiffe://example.org/../web', 'spiffe://example.org:443', 'spiffe://example.org?a'],
    ...['SPIFFE://example.org/web', 'spiffe://example.org/w%65b', 'spiffe://example.org/web/'],
    ...['spiffe://example.org/web\0', `spiffe://example.org/${'a'.repeat(2048)}`, 'file-certs:/a'],
  ];
  for (const name of none) {
    it(`does not serve ${JSON.stringify(name.slice(0, 40))}`, () => {
      assert.equal(kindOf(name), 'unknown');
    });
  }

  it('gives a name one kind and one meaning, whatever the name', () => {
    const piece = fc.constantFrom(
      ...[
        'spiffe://',
        'example.org',
        '/',
        '.',
        '..',
        'web',
        'default',
        'ROOTCA',
        'ALL',
        '*',
        '%2f',
      ],
      ...['file-cert:', 'sds://', ' ', '\0', 'é', 'A', ':', '?', '#', '\u2044'],
    );
    const name = fc.oneof(
      fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join('')),
      fc.string({ unit: 'binary', maxLength: 60 }),
    );
    fc.assert(
      fc.property(name, (text) => {
        const parsed = parseResourceName(text, ALIASES);
        assert.deepEqual(parseResourceName(text, ALIASES), parsed);
        // What is served under a SPIFFE name is served under that spelling alone.
        if (parsed.kind === 'svid') assert.equal(parsed.id ?? 'default', text);
        if (parsed.kind === 'bundle') {
          const { trustDomain } = parsed;
          assert.equal(trustDomain === undefined ? 'ROOTCA' : `spiffe://${trustDomain}`, text);
        }
        if (parsed.kind === 'all-bundles') assert.equal(text, 'ALL');
      }),
    );
  });
});
