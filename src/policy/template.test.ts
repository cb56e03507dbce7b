import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseSelector } from '../identity/selector.ts';
import { parseTrustDomain, spiffeIdFault } from '../identity/spiffe-id.ts';
import { expandTemplate, isAmbiguous, parseTemplate, templateFault } from './template.ts';

const TD = parseTrustDomain('example.org');

function expand(template: string, ...selectors: readonly string[]): string {
  assert.equal(templateFault(template, TD), undefined);
  const expansion = expandTemplate(parseTemplate(template), selectors.map(parseSelector));
  return expansion.kind === 'id' ? expansion.id : expansion.reason;
}

describe('expandTemplate()', () => {
  const POD = 'spiffe://example.org/ns/{k8s:ns}/app-{k8s:pod-label:app}';

  it('takes the values of the one selector each', () => {
    assert.equal(
      expand(
        POD,
        'k8s:ns:prod',
        'k8s:ns-label:x:y',
        'k8s:pod-label:app:web',
        'k8s:pod-label:apps:no',
      ),
      'spiffe://example.org/ns/prod/app-web',
    );
    assert.equal(expand('spiffe://example.org/fixed', 'a:b'), 'spiffe://example.org/fixed');
  });

  it('gives no ID when the caller has none or several', () => {
    assert.equal(
      expand(POD, 'k8s:ns:prod'),
      '{k8s:pod-label:app}: the caller has no such selector',
    );
    assert.equal(
      expand(POD, 'k8s:ns:a', 'k8s:ns:b', 'k8s:pod-label:app:web'),
      '{k8s:ns}: the caller has several such selectors',
    );
  });

  for (const value of ['a/b', '..', '.', 'a b', 'ä', 'a:b', '%2e', '{k8s:sa}']) {
    it(`gives no ID for the value ${value}`, () => {
      assert.match(
        expand('spiffe://example.org/{k8s:ns}', `k8s:ns:${value}`),
        /^\{k8s:ns\}: ".*" does not make a path segment$/,
      );
    });
  }

  it('gives no ID beyond the length of an ID', () => {
    assert.equal(
      expand(
        'spiffe://example.org/{a:b}/{a:c}',
        `a:b:${'x'.repeat(1500)}`,
        `a:c:${'y'.repeat(1500)}`,
      ),
      'the ID has 3022 bytes, at most 2048 are allowed',
    );
  });

  it('gives a valid ID or none, whatever the value', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'binary' }), (value) => {
        const template = parseTemplate('spiffe://example.org/x/{a:b}');
        const expansion = expandTemplate(template, [parseSelector(`a:b:${value}`)]);
        if (expansion.kind === 'none') return;
        assert.equal(spiffeIdFault(expansion.id), undefined);
        assert.equal(expansion.id, `spiffe://example.org/x/${value}`);
      }),
    );
  });
});

describe('templateFault()', () => {
  it('finds nothing wrong only with what expands to a valid ID', () => {
    const piece = fc.constantFrom(
      ...['spiffe://', 'example.org', '/', 'a', '.', '{', '}', 'k8s:ns', '{k8s:ns}', ':', ' ', '%'],
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 9 }), (pieces) => {
        const text = `spiffe://example.org${pieces.join('')}`;
        if (templateFault(text, TD)) return;
        const template = parseTemplate(text);
        const expansion = expandTemplate(
          template,
          template.prefixes.map((prefix) => parseSelector(`${prefix}v`)),
        );
        assert.ok(expansion.kind === 'id' && spiffeIdFault(expansion.id) === undefined);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('isAmbiguous()', () => {
  it('sees two placeholders in one segment', () => {
    assert.equal(isAmbiguous('spiffe://example.org/{a:b}/{c:d}'), false);
    assert.equal(isAmbiguous('spiffe://example.org/x-{a:b}'), false);
    assert.equal(isAmbiguous('spiffe://example.org/{a:b}-{c:d}'), true);
    assert.equal(isAmbiguous('spiffe://example.org/{a:b}{a:b}/x'), true);
  });
});
