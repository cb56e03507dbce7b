import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readLabelSelector, requirementText, unmet } from './label-selector.ts';

function read(selector: unknown) {
  const faults: string[] = [];
  const report = (path: readonly unknown[], expected: string) =>
    void faults.push(`${path.join('.')}: ${expected}`);
  return { selector: readLabelSelector({ value: { s: selector }, path: [], report }, 's'), faults };
}

function selects(selector: unknown, labels: Readonly<Record<string, string>>): boolean {
  const { selector: parsed, faults } = read(selector);
  assert.deepEqual(faults, []);
  return unmet(parsed, new Map(Object.entries(labels))).length === 0;
}

const expression = (key: string, operator: string, ...values: string[]) => ({
  matchExpressions: [{ key, operator, ...(values.length > 0 ? { values } : {}) }],
});

describe('a label selector', () => {
  it('selects everything when it is absent or empty', () => {
    for (const selector of [undefined, null, {}, { matchLabels: {}, matchExpressions: [] }]) {
      assert.equal(selects(selector, {}), true);
      assert.equal(selects(selector, { a: 'b' }), true);
    }
  });

  const CASES: readonly (readonly [string, unknown, Record<string, string>, boolean])[] = [
    ['matchLabels', { matchLabels: { a: '1', b: '2' } }, { a: '1', b: '2', c: '3' }, true],
    ['matchLabels that lack one', { matchLabels: { a: '1', b: '2' } }, { a: '1' }, false],
    ['an empty value', { matchLabels: { a: '' } }, { a: '' }, true],
    ['an empty value of nothing', { matchLabels: { a: '' } }, {}, false],
    ['In', expression('a', 'In', '1', '2'), { a: '2' }, true],
    ['In another', expression('a', 'In', '1', '2'), { a: '3' }, false],
    ['In without the label', expression('a', 'In', '1'), {}, false],
    ['NotIn', expression('a', 'NotIn', '1'), { a: '2' }, true],
    ['NotIn of one', expression('a', 'NotIn', '1'), { a: '1' }, false],
    ['NotIn without the label', expression('a', 'NotIn', '1'), {}, true],
    ['Exists', expression('a', 'Exists'), { a: '' }, true],
    ['Exists not', expression('a', 'Exists'), {}, false],
    ['DoesNotExist', expression('a', 'DoesNotExist'), {}, true],
    ['DoesNotExist of one', expression('a', 'DoesNotExist'), { a: '' }, false],
    [
      'labels and expressions together',
      { matchLabels: { a: '1' }, ...expression('b', 'Exists') },
      { a: '1' },
      false,
    ],
  ];
  for (const [name, selector, labels, expected] of CASES) {
    it(`${expected ? 'selects' : 'leaves out'}: ${name}`, () => {
      assert.equal(selects(selector, labels), expected);
    });
  }

  it('is what each of its conditions says, for all labels', () => {
    const key = fc.constantFrom('a', 'b', 'example.org/c');
    const value = fc.constantFrom('', '1', '2', '3');
    const operator = fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist');
    const one = fc.record({ key, operator, values: fc.array(value, { minLength: 1 }) });
    fc.assert(
      fc.property(fc.array(one), fc.dictionary(key, value), (all, labels) => {
        const expected = all.every(({ key: k, operator: op, values }) => {
          const has = Object.hasOwn(labels, k);
          const listed = has && values.includes(labels[k] ?? '');
          return { In: listed, NotIn: !listed, Exists: has, DoesNotExist: !has }[op];
        });
        const matchExpressions = all.map(({ values, ...rest }) =>
          rest.operator.endsWith('In') ? { ...rest, values } : rest,
        );
        assert.equal(selects({ matchExpressions }, labels), expected);
      }),
    );
  });

  const REFUSALS: readonly (readonly [unknown, string])[] = [
    [5, 's: expected a mapping, got 5'],
    [{ matchLabel: {} }, 's.matchLabel: unknown key, did you mean matchLabels?'],
    [{ matchLabels: { a: 5 } }, 's.matchLabels.a: expected a text, got 5'],
    [{ matchLabels: { 'a b': 'c' } }, 's.matchLabels.a b: expected the key of a label, got "a b"'],
    [{ matchLabels: { a: 'b/c' } }, 's.matchLabels.a: expected the value of a label, got "b/c"'],
    [{ matchExpressions: {} }, 's.matchExpressions: expected a list of expressions, got a mapping'],
    [{ matchExpressions: [5] }, 's.matchExpressions.0: expected key, operator and values, got 5'],
    [
      expression('a', 'Is', 'b'),
      's.matchExpressions.0.operator: expected one of In, NotIn, Exists, DoesNotExist, got "Is"',
    ],
    [expression('a', 'In'), 's.matchExpressions.0.values: In takes at least one value'],
    [expression('a', 'Exists', 'b'), 's.matchExpressions.0.values: Exists takes none'],
  ];
  for (const [selector, message] of REFUSALS) {
    it(`is refused: ${message}`, () => {
      assert.deepEqual(read(selector).faults, [message]);
    });
  }

  it('never throws, whatever it is given', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        for (const value of [a, { matchLabels: a, matchExpressions: b }]) {
          unmet(read(value).selector, new Map([['a', 'b']]));
        }
      }),
    );
  });

  it('is written as kubectl writes it', () => {
    const { selector } = read({
      matchLabels: { a: '1' },
      matchExpressions: [
        { key: 'b', operator: 'In', values: ['1', '2'] },
        { key: 'c', operator: 'NotIn', values: ['1'] },
        { key: 'd', operator: 'Exists' },
        { key: 'e', operator: 'DoesNotExist' },
      ],
    });
    assert.deepEqual(selector.map(requirementText), ['a=1', 'b in (1,2)', 'c!=1', 'd', '!e']);
  });
});
