import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { namespaceFault, namespacesOf } from './config-namespaces.ts';

describe('namespacesOf()', () => {
  const CASES: readonly (readonly [pattern: string, are: string[], areNot: string[]])[] = [
    ['kube-system', ['kube-system'], ['kube-system-2', 'my-kube-system', 'kube']],
    ['kube-*', ['kube-', 'kube-system'], ['my-kube-system', 'kube']],
    ['*-system', ['spire-system'], ['spire-system-2', 'system']],
    ['a*b*c', ['abc', 'a-b-c', 'abbcc'], ['acb', 'ab', 'abcd']],
    ['ab*ba', ['abba', 'ab-ba'], ['aba', 'ab']],
    ['*', ['a', 'kube-system'], []],
    ['^kube-.*$', ['kube-system'], ['my-kube-system']],
    ['^team-.*-dev$', ['team-a-dev'], ['team-dev', 'team-a-dev-2']],
  ];
  for (const [pattern, are, areNot] of CASES) {
    it(`takes ${pattern} for the whole of a name`, () => {
      const { has } = namespacesOf(['other', pattern]);
      assert.equal(namespaceFault(pattern), undefined);
      for (const name of are) assert.ok(has(name), name);
      for (const name of areNot) assert.ok(!has(name), name);
    });
  }

  it('refuses what looks like any other regular expression, or is no name', () => {
    for (const text of ['kube-(system|public)', 'kube-.+', '[a-z]*', 'kube.', 'a|b', '', 'Kube']) {
      assert.match(namespaceFault(text) ?? '', /only \^, \$ and \.\* are known$/, text);
    }
    assert.ok(namespaceFault('a'.repeat(200)));
  });

  it('says what the same regular expression would say, in no time', () => {
    const text = (...letters: string[]) =>
      fc
        .array(fc.constantFrom(...letters), { minLength: 1, maxLength: 12 })
        .map((all) => all.join(''));
    fc.assert(
      fc.property(text('a', 'b', '-', '*'), text('a', 'b', '-'), (pattern, name) => {
        const regex = new RegExp(`^${pattern.replaceAll('*', '.*')}$`);
        assert.equal(namespacesOf([pattern]).has(name), regex.test(name));
      }),
    );
    const began = performance.now();
    assert.ok(!namespacesOf(['*a'.repeat(60) + 'b']).has('a'.repeat(63)));
    assert.ok(performance.now() - began < 100);
  });
});
